//! Between a check in an object and the model's.

use std::collections::BTreeMap;

use crate::model::check::{Check, CheckKind, GrpcCheck, HttpCheck, TlsCheck};
use crate::model::request_options::{self, RequestOptions};
use crate::operator::crd::{CheckSpec, EmptySpec, GrpcSpec, HeaderSpec, HttpSpec, Method, TlsSpec};

/// Reads a check.
///
/// # Errors
/// A sentence that names the first field that is wrong, and what it may hold.
pub fn read_check(spec: &CheckSpec) -> Result<Check, String> {
    let http = spec.http.as_ref().map(|http| read_http(http).map(CheckKind::Http)).transpose()?;
    let tcp = spec.tcp.map(|_| CheckKind::Tcp);
    let grpc = spec.grpc.as_ref().map(|grpc| CheckKind::Grpc(read_grpc(grpc)));
    let none = spec.none.map(|_| CheckKind::None);
    let mut kinds = [http, tcp, grpc, none].into_iter().flatten();
    let kind = kinds.next();
    if kinds.next().is_some() {
        return Err("name one of http, tcp, grpc and none".to_owned());
    }
    let check = Check {
        kind,
        interval_seconds: count("intervalSeconds", spec.interval_seconds)?,
        timeout_seconds: count("timeoutSeconds", spec.timeout_seconds)?,
        retry_interval_seconds: count("retryIntervalSeconds", spec.retry_interval_seconds)?,
        unhealthy_threshold: count("unhealthyThreshold", spec.unhealthy_threshold)?,
        healthy_threshold: count("healthyThreshold", spec.healthy_threshold)?,
    };
    check.accept()?;
    Ok(check)
}

/// A number that the model counts with.
fn count<T: TryFrom<i32>>(field: &str, value: Option<i32>) -> Result<Option<T>, String> {
    value.map(|n| T::try_from(n).map_err(|_| format!("{field} is {n}, which is out of range"))).transpose()
}

fn read_http(spec: &HttpSpec) -> Result<HttpCheck, String> {
    let statuses = spec.expected_statuses.iter().map(|status| count("http.expectedStatuses", Some(*status)));
    let mut headers = BTreeMap::new();
    for header in &spec.headers {
        if headers.insert(header.name.to_ascii_lowercase(), header.value.clone()).is_some() {
            return Err(format!("http.headers: {} is given twice", header.name.escape_default()));
        }
    }
    let method = match spec.method {
        None | Some(Method::Get) => request_options::Method::Get,
        Some(Method::Head) => request_options::Method::Head,
    };
    Ok(HttpCheck {
        path: spec.path.clone(),
        request_options: RequestOptions { method, host: spec.host.clone(), headers },
        expected_statuses: statuses.filter_map(Result::transpose).collect::<Result<_, _>>()?,
        tls: read_tls(spec.tls.as_ref()),
    })
}

fn read_grpc(spec: &GrpcSpec) -> GrpcCheck {
    GrpcCheck { service: spec.service.clone().unwrap_or_default(), tls: read_tls(spec.tls.as_ref()) }
}

fn read_tls(spec: Option<&TlsSpec>) -> TlsCheck {
    spec.map_or_else(TlsCheck::default, |tls| TlsCheck {
        verify: tls.verify.unwrap_or(true),
        server_name: tls.server_name.clone(),
        ca: tls.ca.clone(),
        client_cert: tls.client_cert.clone(),
    })
}

/// Writes a check; none for the default one. The inverse of [`read_check`].
pub fn check_spec(check: &Check) -> Option<CheckSpec> {
    if *check == Check::default() {
        return None;
    }
    let mut spec = CheckSpec {
        interval_seconds: number(check.interval_seconds),
        timeout_seconds: number(check.timeout_seconds),
        retry_interval_seconds: number(check.retry_interval_seconds),
        unhealthy_threshold: number(check.unhealthy_threshold),
        healthy_threshold: number(check.healthy_threshold),
        ..CheckSpec::default()
    };
    match &check.kind {
        Some(CheckKind::Http(http)) => spec.http = Some(http_spec(http)),
        Some(CheckKind::Tcp) => spec.tcp = Some(EmptySpec {}),
        Some(CheckKind::Grpc(grpc)) => spec.grpc = Some(grpc_spec(grpc)),
        Some(CheckKind::None) => spec.none = Some(EmptySpec {}),
        None => {}
    }
    Some(spec)
}

/// The model's bounds lie far below 2^31.
fn number(value: Option<u32>) -> Option<i32> {
    value.map(|n| i32::try_from(n).unwrap_or(i32::MAX))
}

fn http_spec(http: &HttpCheck) -> HttpSpec {
    let RequestOptions { method, host, headers } = &http.request_options;
    HttpSpec {
        path: http.path.clone(),
        method: (*method == request_options::Method::Head).then_some(Method::Head),
        host: host.clone(),
        headers: headers.iter().map(|(name, value)| HeaderSpec { name: name.clone(), value: value.clone() }).collect(),
        expected_statuses: http.expected_statuses.iter().copied().map(i32::from).collect(),
        tls: tls_spec(&http.tls),
    }
}

fn grpc_spec(grpc: &GrpcCheck) -> GrpcSpec {
    GrpcSpec { service: (!grpc.service.is_empty()).then(|| grpc.service.clone()), tls: tls_spec(&grpc.tls) }
}

fn tls_spec(tls: &TlsCheck) -> Option<TlsSpec> {
    (*tls != TlsCheck::default()).then(|| TlsSpec {
        verify: (!tls.verify).then_some(false),
        server_name: tls.server_name.clone(),
        ca: tls.ca.clone(),
        client_cert: tls.client_cert.clone(),
    })
}
