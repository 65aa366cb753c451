-- What a server of the first schema left behind.
INSERT INTO meta VALUES (1, '0123456789abcdef', 'run', 7, 9, 0);
INSERT INTO service VALUES (1, x'0198c0ffee007000800000000000abcd', 'default', 'users', 'rest', 5, 6, 7);
INSERT INTO instance VALUES (2, 1, 'a', 'anonymous', 3, 5, 'http://10.0.0.5:1', NULL, NULL, '1.0', '', NULL,
  100, '', 'unknown', 'NotChecked', 5);
PRAGMA user_version = 1; PRAGMA journal_mode = wal;
