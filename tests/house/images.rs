//! The images of `deploy/` listen on all addresses and require a token.

use portolan::config::{ServeArgs, Settings};

use crate::root;

/// The variables that a Dockerfile sets.
fn variables(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("deploy").join(name)).expect("a Dockerfile");
    let set = text.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    set.map(|text| pair(text).expect("NAME=value")).collect()
}

/// The settings of a container of `image` that is run with the variables `run`.
fn started(image: &[(String, String)], run: &[(&str, &str)]) -> Result<Settings, String> {
    let given = |name: &str| run.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let set = |name: &str| image.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let env = |name: &str| given(name).or_else(|| set(name)).map(Into::into);
    Settings::load(&ServeArgs::default(), env).map_err(|error| error.to_string())
}

#[test]
fn an_image_listens_on_all_addresses_and_requires_tokens() {
    let secret = ("JWT_SECRET", "a secret of the tests, long enough to sign with");
    for name in ["Dockerfile", "Dockerfile.release"] {
        let image = variables(name);
        let settings = started(&image, &[secret]).expect("it starts with a secret");
        assert!(settings.auth.is_some() && settings.bind_address.is_unspecified(), "{name}");
        let refused = started(&image, &[]).expect_err("it does not start without a secret");
        assert!(refused.contains("JWT_SECRET is not set, and auth is on"), "{name}: {refused}");
        let open = started(&image, &[("ENABLE_AUTH", "false")]).expect("auth can be turned off explicitly");
        assert!(open.auth.is_none() && open.bind_address.is_unspecified(), "{name}");
        let cluster =
            started(&image, &[("ENABLE_AUTH", "false"), ("PORTOLAN_MODE", "cluster"), ("POD_NAMESPACE", "p")]);
        assert!(cluster.expect_err("but not in a cluster").contains("auth is off"), "{name}");
    }
}
