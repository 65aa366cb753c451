//! A client of a server at a known address, without TLS or a token.

use std::net::SocketAddr;

use portolan::console::source::api::ServerClient;
use reqwest::{Method, RequestBuilder};

pub(crate) struct To(pub(crate) SocketAddr, pub(crate) reqwest::Client);

impl ServerClient for To {
    fn location(&self) -> String {
        format!("server http://{}", self.0)
    }

    fn connection_error(&self, _: &reqwest::Error) -> Option<String> {
        None
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, String> {
        Ok(self.1.request(method, format!("http://{}/api/v1/{}", self.0, path.join("/"))).query(query))
    }
}
