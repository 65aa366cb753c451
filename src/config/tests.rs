//! What loads, and what is refused.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use secrecy::ExposeSecret;

use super::*;
use crate::model::name::Namespace;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn load(flags: &[&str], env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let cli = Cli::try_parse_from(["portolan"].iter().chain(flags)).expect("the flags parse");
    let env: HashMap<String, OsString> = env.iter().map(|(k, v)| ((*k).to_owned(), v.into())).collect();
    Settings::load(&cli.serve, |name| env.get(name).cloned())
}

fn problem(flags: &[&str], env: &[(&str, &str)]) -> String {
    load(flags, env).expect_err("the setting is refused").to_string()
}

/// Whether the default is a value that could be given, not a sentence about one.
fn is_a_value(setting: &Setting) -> bool {
    setting.default != "none" && !setting.default.contains(' ') && setting.default != "all" && setting.env != "POD_IP"
}

fn cluster(settings: &Settings) -> &ClusterSettings {
    match &settings.mode {
        Mode::Cluster(cluster) => cluster,
        Mode::Standalone => panic!("not the cluster mode"),
    }
}

fn namespace(name: &str) -> Namespace {
    name.parse().expect("a name")
}

#[test]
fn cluster_mode_has_defaults_of_its_own() {
    let mode = ("PORTOLAN_MODE", "cluster");
    let settings = load(&[], &[mode]).expect("loads");
    let documented: Vec<(&str, &str)> =
        SETTINGS.iter().filter(|s| !s.in_cluster.is_empty()).map(|s| (s.env, s.in_cluster)).collect();
    assert_eq!(
        documented,
        [
            ("DB_PATH", "./mirror.db"),
            ("MAX_SERVICES", "0"),
            ("PORTOLAN_DEFAULT_NAMESPACE", "the first of PORTOLAN_REST_NAMESPACES"),
            ("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"),
        ]
    );
    assert_eq!(settings.db_path, PathBuf::from("./mirror.db"));
    assert_eq!((settings.max_services, settings.rate_limit_per_minute), (None, None));
    assert_eq!(settings.read_rate_limit_per_minute, None);
    assert_eq!(cluster(&settings), &ClusterSettings::default());

    let given = [mode, ("DB_PATH", "/data/x.db"), ("MAX_SERVICES", "7"), ("PORTOLAN_RATE_LIMIT_PER_MINUTE", "9")];
    let settings = load(&[], &given).expect("loads");
    assert_eq!(settings.db_path, PathBuf::from("/data/x.db"));
    assert_eq!((settings.max_services, settings.rate_limit_per_minute), (Some(7), Some(9)));
}

#[test]
fn the_settings_of_cluster_mode_are_read_and_checked() {
    let env = [
        ("PORTOLAN_MODE", "cluster"),
        ("PORTOLAN_WATCH_NAMESPACES", "shop, billing,shop"),
        ("PORTOLAN_REST_NAMESPACES", "billing"),
        ("POD_NAME", "portolan-7d9f-x"),
        ("POD_NAMESPACE", "portolan"),
        ("POD_IP", "10.1.2.3"),
    ];
    let settings = load(&["--context", "kind-test"], &env).expect("loads");
    let cluster = cluster(&settings);
    assert_eq!(cluster.watch_namespaces, [namespace("shop"), namespace("billing")]);
    assert_eq!(cluster.rest_namespaces(&namespace("portolan")), Ok(vec![namespace("billing")]));
    assert_eq!(cluster.context.as_deref(), Some("kind-test"));
    assert_eq!(cluster.pod_ip.map(|ip| ip.to_string()).as_deref(), Some("10.1.2.3"));
    let env = [("PORTOLAN_WATCH_NAMESPACES", "a,Shop One"), ("POD_NAME", "a b"), ("POD_IP", "10.1.2.3:80")];
    let text = problem(&[], &env);
    assert!(text.contains("try \"shop-one\"") && text.contains("POD_NAME is") && text.contains("POD_IP is"), "{text}");
}

#[test]
fn rest_writes_only_to_what_is_watched() {
    let own = namespace("portolan");
    let mut settings = ClusterSettings::default();
    assert_eq!(settings.rest_namespaces(&own), Ok(vec![own.clone()]));
    settings.watch_namespaces = vec![namespace("shop")];
    let refused = settings.rest_namespaces(&own).expect_err("not watched").to_string();
    assert!(refused.contains("portolan") && refused.contains("PORTOLAN_WATCH_NAMESPACES"), "{refused}");
    settings.rest_namespaces = vec![namespace("shop")];
    assert_eq!(settings.rest_namespaces(&own), Ok(vec![namespace("shop")]));
}

#[test]
fn an_open_server_of_cluster_mode_stays_on_loopback() {
    let (cluster, everywhere) = (("PORTOLAN_MODE", "cluster"), ("PORTOLAN_BIND_ADDRESS", "0.0.0.0"));
    assert!(load(&[], &[everywhere]).is_ok(), "standalone warns");
    assert!(load(&[], &[cluster]).is_ok_and(|s| s.bind_address.is_loopback()));
    assert!(load(&[], &[cluster, ("PORTOLAN_BIND_ADDRESS", "::1")]).is_ok());
    assert!(problem(&[], &[cluster, everywhere]).contains("PORTOLAN_BIND_ADDRESS is not loopback, and auth is off"));
    let auth = [cluster, everywhere, ("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET)];
    assert!(load(&[], &auth).is_ok());
}

#[test]
fn what_is_never_published_is_given_or_learned() {
    let on = [("PORTOLAN_MODE", "cluster"), ("PORTOLAN_PUBLISH", "true")];
    assert_eq!(cluster(&load(&[], &on).expect("loads")).publish_deny, None, "it has to be learned");
    let denied = |text| {
        let settings = load(&[], &[on[0], on[1], ("PORTOLAN_PUBLISH_DENY", text)]).expect("loads");
        cluster(&settings).publish_deny.iter().flatten().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((denied("none"), denied("10.0.0.0/8,fd00::/8")), (vec![], vec!["10.0.0.0/8".into(), "fd00::/8".into()]));
    let wrong = problem(&[], &[on[0], ("PORTOLAN_PUBLISH_DENY", "nothing")]);
    assert!(wrong.contains("or none"), "{wrong}");
}

#[test]
fn a_selector_of_namespaces_is_read_as_kubectl_reads_it() {
    let mode = ("PORTOLAN_MODE", "cluster");
    let settings = load(&[], &[mode, ("PORTOLAN_WATCH_SELECTOR", "tenant, stage!=dev")]).expect("loads");
    let selector = cluster(&settings).watch_selector.as_ref().map(ToString::to_string);
    assert_eq!(selector.as_deref(), Some("tenant,stage notin (dev)"));
    assert!(!cluster(&settings).policies);
    let wrong = problem(&[], &[mode, ("PORTOLAN_WATCH_SELECTOR", "tenant in red")]);
    assert!(wrong.contains("a label selector such as tenant,stage!=dev"), "{wrong}");
}

#[test]
fn a_cluster_needs_no_secret_because_it_has_tokens_of_its_own() {
    let (mode, auth) = (("PORTOLAN_MODE", "cluster"), ("ENABLE_AUTH", "true"));
    let settings = load(&[], &[mode, auth, ("PORTOLAN_TOKEN_AUDIENCES", "https://a.example, b")]).expect("loads");
    assert!(matches!(settings.auth, Some(Secrets::Absent)));
    assert_eq!(settings.bind_address.to_string(), "0.0.0.0");
    assert_eq!(cluster(&settings).token_audiences, ["https://a.example", "b"]);
    let settings = load(&[], &[mode, auth, ("PORTOLAN_TOKEN_ISSUERS", "https://old.example")]).expect("loads");
    assert_eq!(cluster(&settings).token_issuers, ["https://old.example"]);
    assert!(problem(&[], &[mode, ("PORTOLAN_TOKEN_ISSUERS", "a b")]).contains("expected at most 8 issuers"));
    let text = problem(&[], &[mode, ("PORTOLAN_TOKEN_AUDIENCES", "a b")]);
    assert!(text.contains("expected at most 8 audiences"), "{text}");
    assert!(problem(&[], &[mode, auth, ("JWT_SECRET", "short")]).contains("JWT_SECRET is"), "a given one must be good");
}

#[test]
fn the_legacy_gateways_defaults_hold() {
    let settings = load(&[], &[]).expect("defaults load");
    assert_eq!(settings.listen().to_string(), "127.0.0.1:8080");
    assert!(!settings.bind_address_given);
    assert_eq!(settings.db_path, PathBuf::from("./services.db"));
    assert!(settings.auth.is_none());
    assert_eq!(settings.log_level, "info");
    assert_eq!(settings.max_services, Some(100));
    assert_eq!(settings.health_check_interval, Duration::from_secs(30));
    assert_eq!(settings.rate_limit_per_minute, Some(60));
}

#[test]
fn reads_have_a_limit_of_their_own_that_follows_the_one_of_writes() {
    let limits = |env: &[(&str, &str)]| {
        let settings = load(&[], env).expect("loads");
        (settings.rate_limit_per_minute, settings.read_rate_limit_per_minute)
    };
    let (writes, reads) = ("PORTOLAN_RATE_LIMIT_PER_MINUTE", "PORTOLAN_READ_RATE_LIMIT_PER_MINUTE");
    assert_eq!(limits(&[]), (Some(60), Some(6000)));
    assert_eq!(limits(&[(writes, "0")]), (None, None));
    assert_eq!(limits(&[(writes, "7")]), (Some(7), Some(700)));
    assert_eq!(limits(&[(reads, "0")]), (Some(60), None));
    assert_eq!(limits(&[(writes, "0"), (reads, "9")]), (None, Some(9)));
}

#[test]
fn every_documented_default_is_the_one_that_loads() {
    let plain: Vec<(&str, &str)> = SETTINGS.iter().filter(|s| is_a_value(s)).map(|s| (s.env, s.default)).collect();
    let explicit = load(&[], &plain).expect("documented defaults are valid");
    let mut implicit = load(&[], &[]).expect("defaults load");
    implicit.default_namespace = Some(Namespace::default());
    assert_eq!(format!("{explicit:?}"), format!("{implicit:?}"));
}

#[test]
fn a_flag_wins_over_the_environment_and_empty_means_unset() {
    let env = [("SERVER_PORT", "9000"), ("LOG_LEVEL", ""), ("DB_PATH", "")];
    assert_eq!(load(&[], &env).expect("loads").server_port, 9000);
    assert_eq!(load(&["--server-port", "9001"], &env).expect("loads").server_port, 9001);
}

#[test]
fn every_setting_is_a_flag_and_a_variable() {
    for setting in SETTINGS {
        let flag = setting.flag().expect("has a flag");
        assert_eq!(problem(&[&format!("{flag}=\u{7}\u{7}")], &[]).matches(&flag).count(), 1, "{flag}");
        assert!(problem(&[], &[(setting.env, "\u{7}\u{7}")]).contains(setting.env), "{}", setting.env);
    }
}

#[test]
fn gos_booleans_are_read_as_go_reads_them() {
    for word in ["1", "t", "T", "TRUE", "true", "True"] {
        let settings = load(&[], &[("ENABLE_AUTH", word), ("JWT_SECRET", SECRET)]).expect("loads");
        assert!(settings.auth.is_some(), "{word}");
        assert_eq!(settings.bind_address.to_string(), "0.0.0.0");
    }
    for word in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(load(&[], &[("ENABLE_AUTH", word)]).expect("loads").auth.is_none(), "{word}");
    }
    assert!(problem(&[], &[("ENABLE_AUTH", "yes")]).contains("ENABLE_AUTH is \"yes\"; expected true or false"));
    assert!(load(&["--service-metrics=false"], &[]).is_ok_and(|s| !s.service_metrics));
    assert!(load(&["--enable-auth"], &[("JWT_SECRET", SECRET)]).is_ok_and(|s| s.auth.is_some()));
    let cluster = load(&["--mode=cluster", "--policies", "--publish", "--adopt=false"], &[]).expect("loads").mode;
    assert!(matches!(cluster, Mode::Cluster(c) if c.policies && c.publish && !c.adopt));
}

#[test]
fn all_bad_values_come_at_once() {
    let env = [("SERVER_PORT", "80a0"), ("HEALTH_CHECK_INTERVAL", "0"), ("MAX_SERVICES", "-1")];
    let text = problem(&["--log-level", "inof"], &env);
    assert!(text.starts_with("4 settings cannot be used:"), "{text}");
    assert!(text.contains("SERVER_PORT is \"80a0\"; expected a port from 0 to 65535"), "{text}");
    assert!(text.contains("HEALTH_CHECK_INTERVAL is \"0\"; expected seconds, a whole number from 1"), "{text}");
    assert!(text.contains("MAX_SERVICES is \"-1\""), "{text}");
    assert!(text.contains("--log-level is \"inof\"; expected trace, debug"), "{text}");
}

#[test]
fn a_weak_secret_is_refused_and_never_shown() {
    let auth = ("ENABLE_AUTH", "true");
    assert!(problem(&[], &[auth]).contains("JWT_SECRET is not set"));
    assert!(problem(&[], &[auth, ("JWT_SECRET", &" ".repeat(50))]).contains("JWT_SECRET is only 0 bytes long"));
    for weak in ["your-secret-key", "hunter2-hunter2", " your-secret-key\n"] {
        let text = problem(&[], &[auth, ("JWT_SECRET", weak)]);
        assert!(text.contains("JWT_SECRET is") && !text.contains(weak), "{text}");
    }
    let both = [auth, ("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", "/run/secret")];
    assert!(problem(&[], &both).contains("both set"));
    let settings = load(&[], &[auth, ("JWT_SECRET", SECRET)]).expect("loads");
    assert!(!format!("{settings:?}").contains(SECRET));
    assert!(matches!(settings.auth, Some(Secrets::Inline(s)) if s.expose_secret() == SECRET));
    let settings = load(&[], &[auth, ("JWT_SECRET", &format!(" {SECRET}\n"))]).expect("loads");
    assert!(matches!(settings.auth, Some(Secrets::Inline(s)) if s.expose_secret() == SECRET), "as a line of a file");
    assert!(load(&[], &[("JWT_SECRET", "short")]).is_ok(), "unused while auth is off");
}

#[test]
fn draining_is_a_part_of_the_shutdown() {
    assert_eq!(load(&["--drain-seconds", "9"], &[]).expect("loads").drain, Duration::from_secs(9));
    let text = problem(&["--drain-seconds", "10"], &[]);
    assert!(text.contains("--drain-seconds is 10; expected less than PORTOLAN_SHUTDOWN_SECONDS, 10"), "{text}");
    assert!(load(&["--drain-seconds", "10"], &[("PORTOLAN_SHUTDOWN_SECONDS", "40")]).is_ok());
}

#[test]
fn reads_cannot_be_closed_without_tokens() {
    assert!(problem(&["--read-auth"], &[]).contains("--read-auth needs ENABLE_AUTH=true"));
    assert!(load(&["--read-auth", "--enable-auth"], &[("JWT_SECRET", SECRET)]).is_ok_and(|s| s.read_auth));
}

#[test]
fn addresses_networks_hosts_and_origins_are_normalised() {
    let settings = load(
        &["--bind-address", "[::1]", "--probe-allow", "10.0.0.0/8, 192.0.2.7", "--probe-deny", ""],
        &[
            ("PORTOLAN_ALLOWED_HOSTS", "Registry.Example.COM"),
            ("PORTOLAN_CORS_ORIGINS", "https://Ops.example.com:443/,http://10.0.0.1:3000"),
        ],
    )
    .expect("loads");
    assert_eq!(settings.listen().to_string(), "[::1]:8080");
    assert!(settings.bind_address_given);
    let allow: Vec<String> = settings.probe_allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.0.0.0/8", "192.0.2.7/32"]);
    assert_eq!(settings.allowed_hosts, ["registry.example.com"]);
    assert_eq!(settings.cors_origins, ["https://ops.example.com", "http://10.0.0.1:3000"]);
    assert!(problem(&["--probe-allow", "10.0.0.1/8"], &[]).contains("10.0.0.0/8 or 10.0.0.1/32"));
    assert!(problem(&["--cors-origins", "*"], &[]).contains("web origins"));
}

#[test]
fn log_directives_are_accepted_and_words_explained() {
    assert!(load(&["--log-level", "warn,portolan::prober=DEBUG"], &[]).is_ok());
    assert!(problem(&["--log-level", "portolan::prober=loud"], &[]).contains("expected trace"));
    assert!(problem(&[], &[("PORTOLAN_MODE", "fleet")]).contains("expected standalone or cluster"));
    assert!(problem(&[], &[("SERVER_PORT", "tcp://10.0.0.1:80")]).contains("enableServiceLinks: false"));
}

#[test]
fn the_files_of_tls_are_given_together() {
    let (cert, key, ca) = (("PORTOLAN_TLS_CERT", "/c"), ("PORTOLAN_TLS_KEY", "/k"), ("PORTOLAN_TLS_CLIENT_CA", "/ca"));
    let auth = [("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET)];
    let tls = |env: &[(&str, &str)]| load(&[], env).expect("loads").tls;
    assert_eq!(tls(&[]), None);
    assert_eq!(tls(&[cert, key]).map(|tls| (tls.client_ca, tls.client_required)), Some((None, false)));
    for (given, asked, required) in [
        (None, true, true),
        (Some("required"), true, true),
        (Some("optional"), true, false),
        (Some("off"), false, false),
    ] {
        let when = given.map(|when| ("PORTOLAN_TLS_CLIENT_AUTH", when));
        let env: Vec<_> = [cert, key, ca].into_iter().chain(auth).chain(when).collect();
        let tls = tls(&env).expect("TLS");
        assert_eq!((tls.client_ca.is_some(), tls.client_required), (asked, required), "{given:?}");
    }
    assert!(problem(&[], &[cert]).contains("PORTOLAN_TLS_KEY"));
    assert!(problem(&[], &[key]).contains("PORTOLAN_TLS_CERT"));
    assert!(problem(&[], &[cert, key, ca]).contains("ENABLE_AUTH"));
    assert!(problem(&[], &[ca, auth[0], auth[1]]).contains("PORTOLAN_TLS_CERT"));
    let when = ("PORTOLAN_TLS_CLIENT_AUTH", "optional");
    assert!(problem(&[], &[cert, key, when]).contains("PORTOLAN_TLS_CLIENT_CA"));
    assert!(problem(&[], &[cert, key, ("PORTOLAN_TLS_CLIENT_AUTH", "maybe")]).contains("off, optional or required"));
}
