//! What the images of `deploy/` set: a container is reached from outside, and then only with a token.

use portolan::config::{ServeArgs, Settings};

use crate::root;

/// The variables that a Dockerfile sets.
fn variables(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("deploy").join(name)).expect("a Dockerfile");
    let set = text.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    set.map(|text| pair(text).expect("NAME=value")).collect()
}

fn started(image: &[(String, String)], run: &[(&str, &str)]) -> Result<Settings, String> {
    let given = |name: &str| run.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let set = |name: &str| image.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let env = |name: &str| given(name).or_else(|| set(name)).map(Into::into);
    Settings::load(&ServeArgs::default(), env).map_err(|error| error.to_string())
}

#[test]
fn an_image_is_reached_from_outside_and_asks_for_tokens() {
    let secret = ("JWT_SECRET", "a secret of the tests, long enough to sign with");
    for name in ["Dockerfile", "Dockerfile.release"] {
        let image = variables(name);
        let settings = started(&image, &[secret]).expect("it starts with a secret");
        assert!(settings.auth.is_some() && settings.bind_address.is_unspecified(), "{name}");
        let refused = started(&image, &[]).expect_err("nobody writes without a token");
        assert!(refused.contains("JWT_SECRET is not set, and auth is on"), "{name}: {refused}");
        let open = started(&image, &[("ENABLE_AUTH", "false")]).expect("who says so goes without");
        assert!(open.auth.is_none() && open.bind_address.is_unspecified(), "{name}");
        let cluster =
            started(&image, &[("ENABLE_AUTH", "false"), ("PORTOLAN_MODE", "cluster"), ("POD_NAMESPACE", "p")]);
        assert!(cluster.expect_err("in a cluster nobody does").contains("auth is off"), "{name}");
    }
}
