module example.com/shop

go 1.22

require example.com/clients v0.0.0

replace example.com/clients => ../clients/go
