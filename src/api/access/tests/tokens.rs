//! Tokens: which are taken, which are not, and what they allow.

use hmac::Hmac;
use sha2::{Sha256, Sha384, Sha512};

use super::*;

fn judged(token: &str) -> &'static str {
    World::guarded().code(&Ask::register().bearer(token))
}

#[test]
fn a_good_token_is_taken_with_and_without_bearer() {
    let world = World::guarded();
    let token = token_of(&claims());
    for value in [format!("Bearer {token}"), format!("bearer  {token}"), token.clone()] {
        let admitted = world.ask(&Ask::register().header("authorization", value)).expect("admitted");
        assert!(admitted.principal.authenticated);
        let owner = Owner::Token { issuer: "".into(), subject: "ci".into() };
        assert_eq!(admitted.principal.caller(), crate::model::ports::Caller { owner, admin: false });
    }
}

#[test]
fn two_subjects_are_two_owners_and_an_issuer_tells_them_apart() {
    let world = World::guarded();
    let owner = |changes| {
        let token = token_of(&claims_with(&changes));
        world.ask(&Ask::register().bearer(&token)).expect("admitted").principal
    };
    let (ci, mallory) = (owner(json!({})), owner(json!({"sub": "mallory"})));
    let elsewhere = owner(json!({"iss": "https://other"}));
    assert_ne!(ci.owner, mallory.owner);
    assert_ne!(ci.owner, elsewhere.owner);
    assert_ne!(ci.client, elsewhere.client);
    assert!(!mallory.caller().admin, "so the store refuses ci's instances to mallory");
    assert!(owner(json!({"scope": "admin"})).caller().admin);
}

#[test]
fn the_legacy_gateways_messages_stay() {
    let world = World::guarded();
    let error = world.ask(&Ask::register()).expect_err("no token");
    assert_eq!((error.code, &*error.message), (Code::TokenRequired, "Authorization header required"));
    assert!(error.hinted().is_some_and(|hint| hint.contains("scope has register")), "{error:?}");
    assert_eq!(error.into_reply().headers()["www-authenticate"], "Bearer realm=\"portolan\", scope=\"register\"");
    let error = world.ask(&Ask::register().header("authorization", "")).expect_err("an empty one");
    assert_eq!(error.code, Code::TokenRequired);
    let error = world.ask(&Ask::register().bearer("x.y.z")).expect_err("garbage");
    assert_eq!((error.code, &*error.message), (Code::TokenInvalid, "Invalid token"));
    let challenge = error.into_reply().headers()["www-authenticate"].clone();
    assert!(challenge.to_str().expect("text").contains("error=\"invalid_token\""), "{challenge:?}");
}

#[test]
fn no_other_algorithm_is_taken() {
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    assert_eq!(judged(&none), "token_invalid");
    let unsigned = token_of(&claims());
    let unsigned = unsigned.rsplit_once('.').expect("three parts").0;
    assert_eq!(judged(&format!("{unsigned}.")), "token_invalid");
    assert_eq!(judged(unsigned), "token_invalid");
    let key = SECRET.as_bytes();
    assert_eq!(judged(&forge::<Hmac<Sha384>>(&json!({"alg": "HS384"}), &claims(), key)), "token_invalid");
    assert_eq!(judged(&forge::<Hmac<Sha512>>(&json!({"alg": "HS512"}), &claims(), key)), "token_invalid");
    // The classic confusion: claims to be RSA, signed by HMAC, and the other way round.
    for alg in ["RS256", "PS256", "ES256", "EdDSA", "none", "None", "NONE", "hs256", "HS256 ", ""] {
        assert_eq!(judged(&forge::<Hmac<Sha256>>(&json!({"alg": alg}), &claims(), key)), "token_invalid", "{alg}");
    }
    let jwk = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("attacker-key-attacker-key-attacker")}});
    let own = forge::<Hmac<Sha256>>(&jwk, &claims(), b"attacker-key-attacker-key-attacker");
    assert_eq!(judged(&own), "token_invalid", "a key in the header is never used");
    let crit = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(judged(&forge::<Hmac<Sha256>>(&crit, &claims(), key)), "token_invalid");
}

#[test]
fn a_refusal_of_a_token_does_not_repeat_it() {
    let world = World::guarded();
    let why = |token: &str| {
        let error = world.ask(&Ask::register().bearer(token)).expect_err("refused");
        error.into_reply().headers()["www-authenticate"].to_str().expect("text").to_owned()
    };
    let signed = |header: &Value| forge::<Hmac<Sha256>>(header, &claims(), SECRET.as_bytes());
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    let tokens = ["none", "HS512", "RS256", "HS1024", "x\"y"].map(|alg| signed(&json!({"alg": alg})));
    for token in tokens.iter().chain([&none, &signed(&json!({})), &signed(&json!({"alg": 7})), &signed(&json!([]))]) {
        let why = why(token);
        assert!(why.contains("names the algorithm HS256, the only one accepted"), "{why}");
    }
    let crit = why(&signed(&json!({"alg": "HS256", "crit": ["b64"]})));
    assert!(crit.contains("(crit)") && !crit.contains("b64"), "{crit}");
    let claims = why(&token_of(&claims_with(&json!({"sub": 7}))));
    assert!(claims.contains("sub must be text"), "{claims}");
}

#[test]
fn a_forged_or_changed_token_is_refused() {
    let header = json!({"alg": "HS256"});
    assert_eq!(judged(&forge::<Hmac<Sha256>>(&header, &claims(), b"your-secret-key")), "token_invalid");
    assert_eq!(judged(&forge::<Hmac<Sha256>>(&header, &claims(), b"")), "token_invalid");
    let good = token_of(&claims());
    let (head, rest) = good.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let swapped = format!("{head}.{}.{signature}", part(&claims_with(&json!({"scope": "admin"}))));
    assert_eq!(judged(&swapped), "token_invalid");
    assert_eq!(judged(&format!("{good}A")), "token_invalid");
    assert_eq!(judged(&good[..good.len() - 2]), "token_invalid");
    assert_eq!(judged(&format!("{good}.{good}")), "token_invalid");
}

#[test]
fn garbage_is_refused_whatever_it_looks_like() {
    for garbage in ["x", "..", "...", "Bearer", "Basic dXNlcjpwdw==", "{}", "null", "e30.e30.e30", "\u{e9}"] {
        assert_eq!(judged(garbage), "token_invalid", "{garbage}");
    }
    assert_eq!(judged(&"a".repeat(12_000)), "token_invalid");
    assert_eq!(judged(&format!("{}.e30.{}", "a".repeat(4000), "b".repeat(4000))), "token_invalid");
    let two = Ask::register().bearer(&token_of(&claims())).bearer("x");
    assert_eq!(World::guarded().code(&two), "token_invalid", "two tokens are ambiguous");
}

#[test]
fn a_token_lives_as_long_as_it_says_and_no_longer_than_allowed() {
    let exp = |exp: Value| judged(&token_of(&claims_with(&json!({"exp": exp}))));
    let month = 30 * 24 * 3600;
    assert_eq!(exp(json!(START_S - 29)), "admitted", "clocks may differ by 30 s");
    assert_eq!(exp(json!(START_S - 31)), "token_expired");
    assert_eq!(exp(json!(0)), "token_expired");
    assert_eq!(exp(json!(-1)), "token_expired");
    assert_eq!(exp(json!(START_S + month)), "admitted");
    assert_eq!(exp(json!(START_S + month + 60)), "token_invalid");
    assert_eq!(exp(json!(1e300)), "token_invalid");
    assert_eq!(exp(json!(u64::MAX)), "token_invalid");
    assert_eq!(exp(json!(1_800_000_000.5)), "admitted", "a NumericDate may have a fraction");
    for not_a_number in [json!(null), json!((START_S + 60).to_string()), json!([START_S]), json!({}), json!(true)] {
        assert_eq!(exp(not_a_number.clone()), "token_invalid", "{not_a_number}");
    }
    let nbf = |nbf: Value| judged(&token_of(&claims_with(&json!({"nbf": nbf}))));
    assert_eq!(nbf(json!(START_S + 29)), "admitted");
    assert_eq!(nbf(json!(START_S + 31)), "token_invalid");
    assert_eq!(nbf(json!("soon")), "token_invalid");
}

#[test]
fn a_token_that_does_not_do_says_why_and_what_it_says_only_when_it_is_signed() {
    let world = World::guarded();
    let day = 24 * 3600;
    let why = |token: &str| {
        let error = world.ask(&Ask::register().bearer(token)).expect_err("refused");
        assert_eq!(&*error.message, "Invalid token");
        let hint = error.hinted().expect("a reason").to_owned();
        let challenge = error.into_reply().headers()["www-authenticate"].to_str().expect("text").to_owned();
        assert!(challenge.contains(&format!("error_description=\"{hint}\"")), "{challenge}");
        hint
    };
    let says = |changes: Value| why(&token_of(&claims_with(&changes)));
    let expired = says(json!({"exp": START_S - 3 * 3600}));
    let at = UnixMs((START_S - 3 * 3600) * 1000);
    assert_eq!(expired, format!("the token expired at {at}, 3h ago"));
    let late = says(json!({"exp": START_S + 45 * day}));
    assert!(late.contains("lies 45d ahead, and PORTOLAN_TOKEN_MAX_DAYS allows 30d here"), "{late}");
    assert!(says(json!({"exp": START_S * 1000})).contains("seconds since 1970, not milliseconds"));
    assert!(says(json!({"nbf": START_S + 600})).contains("its nbf lies 10m ahead"));
    assert!(says(json!({"aud": "billing"})).contains("its aud must name portolan"));
    assert!(says(json!({"sub": null})).contains("sub must be text"));
    assert!(why("x.y").contains("not a JSON Web Token"));
    let header = json!({"alg": "HS256"});
    let expired_and_forged = claims_with(&json!({"exp": START_S - day, "sub": "mallory", "aud": "billing"}));
    let forged = forge::<Hmac<Sha256>>(&header, &expired_and_forged, b"another secret, long enough to sign with");
    assert_eq!(why(&forged), "the token is not signed with any of this server's secrets");
    let two = Ask::register().bearer(&token_of(&claims())).bearer("x");
    let error = world.ask(&two).expect_err("refused");
    assert!(error.hinted().is_some_and(|hint| hint.contains("several Authorization headers")), "{error:?}");
}

#[test]
fn a_token_that_lacks_something_says_what_and_names_no_more() {
    let world = World::guarded();
    let challenge = |error: ApiError| {
        let (message, reply) = (error.message.to_string(), error.into_reply());
        (message, reply.headers()["www-authenticate"].to_str().expect("text").to_owned())
    };
    let reader = token_of(&claims_with(&json!({"scope": "read"})));
    let (message, header) = challenge(world.ask(&Ask::register().bearer(&reader)).expect_err("refused"));
    assert!(
        message.contains("the scope register, which the token lacks") && header.ends_with("scope=\"register\""),
        "{message} {header}"
    );
    let namespaces = |claim: Value| {
        let token = token_of(&claims_with(&json!({"namespaces": claim})));
        let principal = world.ask(&Ask::register().bearer(&token)).expect("admitted").principal;
        let (message, header) = challenge(principal.require_write("shop").expect_err("refused"));
        assert!(message.contains("does not cover the namespace shop"), "{message}");
        header.rsplit_once("namespaces=").expect("named").1.to_owned()
    };
    assert_eq!(namespaces(json!(null)), "\"default shop\"");
    assert_eq!(namespaces(json!(["bank", "no name\"", "x\ny"])), "\"bank shop\"");
    let many: Vec<String> = (0..500).map(|n| format!("n{n}")).collect();
    assert_eq!(namespaces(json!(many)), "\"shop\"", "the header stays small");
}

#[test]
fn a_token_like_another_repeats_what_a_command_can_say() {
    let like = |claims: &Value| Mint::like(&forge::<Hmac<Sha256>>(&json!({"alg": "HS256"}), claims, b"whoever signed"));
    let mint =
        like(&json!({"sub": "ci", "iss": "idp", "namespaces": ["a", "*", "B!", 7], "scope": "read x"})).expect("one");
    assert_eq!((mint.subject.as_str(), mint.issuer.as_deref()), ("ci", Some("idp")));
    assert_eq!(mint.namespaces, Some(vec!["a".to_owned(), "*".to_owned()]));
    assert_eq!(mint.scopes, Some(Scopes { read: true, register: false, admin: false }));
    assert_eq!(
        like(&json!({"sub": "ci", "exp": "soon"})).map(|mint| (mint.scopes, mint.namespaces)),
        Some((None, None))
    );
    for strange in [json!({"sub": "a\nb"}), json!({"sub": ""}), json!({}), json!([])] {
        assert_eq!(like(&strange), None, "{strange}");
    }
    assert_eq!(Mint::like("x.y.z"), None);
}

#[test]
fn an_expired_token_has_its_own_code() {
    let world = World::guarded();
    let ask = Ask::register().bearer(&token_of(&claims()));
    assert_eq!(world.code(&ask), "admitted");
    world.pass(Duration::from_secs(3631));
    let error = world.ask(&ask).expect_err("expired");
    assert_eq!((error.code, &*error.message), (Code::TokenExpired, "Invalid token"));
}

#[test]
fn only_our_audience_and_a_subject_count() {
    let with = |changes| judged(&token_of(&claims_with(&changes)));
    assert_eq!(with(json!({"aud": "portolan"})), "admitted");
    assert_eq!(with(json!({"aud": ["other", "portolan"]})), "admitted");
    for aud in [json!("other"), json!(["other"]), json!([]), json!(""), json!(7)] {
        assert_eq!(with(json!({"aud": aud.clone()})), "token_invalid", "{aud}");
    }
    for sub in [json!(null), json!(""), json!(7), json!("a\nb"), json!("x".repeat(257))] {
        assert_eq!(with(json!({"sub": sub.clone()})), "token_invalid", "{sub}");
    }
    assert_eq!(with(json!({"iss": "a\nb"})), "token_invalid", "a line break would forge another owner");
}

#[test]
fn a_token_covers_its_namespaces_and_scopes() {
    let world = World::guarded();
    let who = |changes| {
        let token = token_of(&claims_with(&changes));
        world.ask(&Ask::discover().bearer(&token)).expect("admitted").principal
    };
    let plain = who(json!({}));
    assert!(plain.may_write("default") && !plain.may_write("shop"));
    assert!(plain.may_read("shop"), "reads are open");
    assert!(plain.sees_evidence("default") && !plain.sees_evidence("shop"));
    assert_eq!(plain.require_write("shop").expect_err("refused").code, Code::NamespaceForbidden);
    assert!(who(json!({"namespaces": ["*"]})).may_write("shop"));
    let two = who(json!({"namespaces": ["shop", "bank"]}));
    assert!(two.may_write("shop") && two.may_write("bank") && !two.may_write("default"));
    assert!(!who(json!({"namespaces": []})).may_write("default"));
    let reader = who(json!({"scope": "read"}));
    assert!(!reader.may_write("default") && reader.sees_evidence("default"));
    assert!(who(json!({"scope": "admin"})).may_write("default"));
    let code = |scope: &str, ask: Ask| world.code(&ask.bearer(&token_of(&claims_with(&json!({"scope": scope})))));
    assert_eq!(code("read", Ask::register()), "insufficient_scope");
    assert_eq!(code("register", Ask::register()), "admitted");
    assert_eq!(code("register", Ask::new("GET", "/api/v1/services/x")), "admitted", "it may be its own");
    assert_eq!(code("", Ask::new("GET", "/api/v1/services/x")), "insufficient_scope");
    assert_eq!(code("register", Ask::new("GET", "/api/v1/services/x/history")), "insufficient_scope");
    assert_eq!(code("register", Ask::new("GET", "/api/v1/probes?id=x")), "insufficient_scope");
    assert_eq!(code("", Ask::register()), "insufficient_scope");
    assert_eq!(code("openid profile", Ask::register()), "insufficient_scope");
    for namespaces in [json!("shop"), json!([7]), json!({})] {
        assert_eq!(judged(&token_of(&claims_with(&json!({"namespaces": namespaces})))), "token_invalid");
    }
}

#[test]
fn open_reads_stay_open_and_show_no_evidence_without_a_token() {
    let world = World::guarded();
    let nobody = world.ask(&Ask::discover()).expect("open").principal;
    assert!(nobody.may_read("any") && !nobody.may_write("any") && !nobody.sees_evidence("any"));
    let stale = world.ask(&Ask::discover().bearer("x.y.z")).expect("as in the legacy gateway").principal;
    assert!(!stale.authenticated && !stale.sees_evidence("default"));
    for target in ["/", "/healthz", "/metrics", "/api/v1/health", "/api/v1/services"] {
        assert_eq!(world.code(&Ask::new("GET", target)), "admitted", "{target}");
    }
    assert_eq!(world.code(&Ask::new("GET", "/api/v1/services/x")), "token_required");
    assert_eq!(world.code(&Ask::new("DELETE", "/api/v1/services/x")), "token_required");
    assert_eq!(world.code(&Ask::new("POST", "/api/v1/services/x/health-check")), "token_required");
}

#[test]
fn read_auth_closes_reads_and_filters_them() {
    let secrets = Secrets::inline(&SecretString::from(SECRET)).expect("strong");
    let world = World::with(AccessSettings { read_auth: true, ..settings() }, Some(secrets));
    for target in ["/api/v1/services", "/api/v1/services/stats", "/api/v1/services/discover?name=x", "/metrics"] {
        assert_eq!(world.code(&Ask::new("GET", target)), "token_required", "{target}");
        assert_eq!(world.code(&Ask::new("GET", target).bearer("x.y.z")), "token_invalid", "{target}");
    }
    for target in ["/", "/healthz", "/readyz", "/api/v1/health", "/openapi.json"] {
        assert_eq!(world.code(&Ask::new("GET", target)), "admitted", "{target}");
    }
    let shop = token_of(&claims_with(&json!({"namespaces": ["shop"]})));
    let principal = world.ask(&Ask::discover().bearer(&shop)).expect("admitted").principal;
    assert!(principal.may_read("shop") && !principal.may_read("default") && !principal.reads_all());
    assert_eq!(world.code(&Ask::new("GET", "/metrics").bearer(&shop)), "insufficient_scope");
    let all = token_of(&claims_with(&json!({"namespaces": ["*"]})));
    assert_eq!(world.code(&Ask::new("GET", "/metrics").bearer(&all)), "admitted");
    let writer = token_of(&claims_with(&json!({"scope": "register"})));
    assert_eq!(world.code(&Ask::discover().bearer(&writer)), "insufficient_scope");
}

#[test]
fn with_auth_off_everyone_is_anonymous_and_no_admin() {
    let admitted = World::open().ask(&Ask::register().bearer("x.y.z")).expect("tokens are not looked at");
    let principal = admitted.principal;
    assert_eq!(principal.caller(), crate::model::ports::Caller { owner: Owner::Anonymous, admin: false });
    assert!(principal.may_read("a") && principal.may_write("b") && principal.sees_evidence("c"));
}

#[test]
fn a_minted_token_is_taken() {
    let world = World::guarded();
    let what = Mint {
        subject: "ci".into(),
        issuer: Some("portolan token".into()),
        namespaces: Some(vec!["shop".into()]),
        scopes: Some(Scopes { read: true, register: true, admin: true }),
        lasts: Duration::from_hours(1),
    };
    let token = mint(&SecretString::from(SECRET), &what, START).expect("minted");
    let principal = world.ask(&Ask::register().bearer(&token)).expect("admitted").principal;
    assert_eq!(principal.owner, Owner::Token { issuer: "portolan token".into(), subject: "ci".into() });
    assert!(principal.scopes.admin && principal.may_write("shop") && !principal.may_write("default"));
    let plain = Mint { scopes: None, namespaces: None, issuer: None, ..what.clone() };
    let token = mint(&SecretString::from(SECRET), &plain, START).expect("minted");
    let principal = world.ask(&Ask::register().bearer(&token)).expect("admitted").principal;
    assert!(principal.may_write("default") && !principal.scopes.admin);
    let secret = SecretString::from(SECRET);
    assert_eq!(mint(&secret, &Mint { subject: String::new(), ..what.clone() }, START), Err(MintError::Subject));
    assert_eq!(mint(&secret, &Mint { scopes: Some(Scopes::default()), ..what }, START), Err(MintError::NoScope));
}

proptest::proptest! {
    #[test]
    fn no_header_makes_it_panic_or_pass(text in "[ -~]{0,200}") {
        let world = World::guarded();
        let code = world.code(&Ask::register().header("authorization", text));
        proptest::prop_assert!(code.starts_with("token_"));
    }

    #[test]
    fn no_claims_make_it_panic(claims in "[ -~]{0,100}") {
        let header = part(&json!({"alg": "HS256"}));
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).expect("any length");
        mac.update(message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        proptest::prop_assert_eq!(judged(&token), "token_invalid");
    }
}
