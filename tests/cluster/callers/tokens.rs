//! Which tokens are taken: only what the API server gives for Portolan, while it is in force.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_plane::{ControlPlane, Options};
use hmac::{Hmac, Mac};
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Stage, outcome, reason, register, registration};
use crate::common::repository;
use crate::sync::replica::until;

/// An issuer that the API server accepts and no longer publishes.
const FORMER: &str = "https://former.example";

/// The API server's own key, with which this test signs what the API server would not.
struct Signer {
    pair: EcdsaKeyPair,
    header: Value,
    claims: Value,
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

impl Signer {
    /// Tokens like `token`.
    fn like(plane: &ControlPlane, token: &str) -> Self {
        let pem = std::fs::read(plane.folder().join("pki/sa.key")).expect("the key");
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).expect("a key");
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(kind, der.secret_pkcs8_der(), &random).expect("a key of P-256");
        let mut parts = token.split('.').map(part_or_signature);
        let mut next = || parts.next().flatten().expect("three parts");
        Self { pair, header: next(), claims: next() }
    }

    fn message(&self, header: &Value, claims: &Value) -> String {
        let change = |of: &Value, with: &Value| {
            let mut all = of.clone();
            for (name, value) in with.as_object().expect("an object") {
                all[name] = value.clone();
            }
            URL_SAFE_NO_PAD.encode(all.to_string())
        };
        format!("{}.{}", change(&self.header, header), change(&self.claims, claims))
    }

    /// With these changes of the header and of the claims.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = self.message(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// The last part is not JSON.
fn part_or_signature(text: &str) -> Option<Value> {
    (text.len() > 20 && text.starts_with("ey")).then(|| part(text))
}

fn hmac(message: &str, secret: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_of_this_cluster_for_portolan_is_taken() {
    let stage = Stage::new().await;
    let pod = stage.pod("portolan-0", &[("PORTOLAN_TOKEN_AUDIENCES", "registry.example")]).await;
    let body = registration(&stage.shop, "users");
    let why = async |token: &str| {
        let refused = register(&pod, token, &body).await;
        assert_eq!(outcome(&refused).0, 401, "{}", refused.text);
        reason(&refused)
    };
    let good = stage.projected().await;
    let signer = Signer::like(stage.plane, &good);
    let same = signer.token(&json!({}), &json!({}));
    assert_eq!(register(&pod, &same, &body).await.status, 200, "this test signs as the API server does");
    let second = stage.token(&["--audience=registry.example"]).await;
    assert_eq!(register(&pod, &second, &body).await.status, 200, "the setting's audience");

    assert!(why(&stage.token(&[]).await).await.contains("another audience"), "one for the API server itself");
    assert!(why(&stage.token(&["--audience=vault"]).await).await.contains("another audience"));
    let now = portolan::model::time::UnixMs::wall().0 / 1000;
    let expired = signer.token(&json!({}), &json!({"iat": now - 4000, "nbf": now - 4000, "exp": now - 400}));
    let refused = register(&pod, &expired, &body).await;
    assert_eq!(outcome(&refused), (401, "token_expired".to_owned()), "{}", refused.text);
    assert!(why(&signer.token(&json!({}), &json!({"iss": "https://other"}))).await.contains("not issued by"));
    let posing = json!({"sub": format!("system:serviceaccount:{}:portolan", stage.own)});
    assert!(why(&signer.token(&json!({}), &posing)).await.contains("not a ServiceAccount's"));
    assert!(why(&signer.token(&json!({"kid": "made-up"}), &json!({}))).await.contains("a key of this cluster"));
    assert!(why(&signer.token(&json!({"alg": "RS256"}), &json!({}))).await.contains("names the algorithm"));
    let unsigned = format!("{}.", signer.message(&json!({"alg": "none"}), &json!({})));
    assert!(why(&unsigned).await.contains("names the algorithm"));
    let public = std::fs::read(stage.plane.folder().join("pki/sa.crt")).expect("the public key");
    let confused = signer.message(&json!({"alg": "HS256"}), &json!({}));
    for secret in [public.as_slice(), signer.pair.public_key().as_ref()] {
        assert!(why(&hmac(&confused, secret)).await.contains("no secret that verifies HS256"));
    }
    let flipped = format!("{}{}", &good[..good.len() - 6], "AAAAAA");
    assert!(why(&flipped).await.contains("signature does not match the key"));
    let large = signer.token(&json!({}), &json!({"pad": "x".repeat(8 * 1024)}));
    for malformed in ["x", "x.y.z", "..", &good[..100], &format!("{good}.{good}"), &large] {
        let why = why(malformed).await;
        assert!(why.contains("not a JSON Web Token") || why.contains("names the algorithm"), "{malformed}: {why}");
    }
    let huge = pod.send_as(&"x".repeat(20_000), Method::POST, "/api/v1/services/register", &body).await;
    assert_eq!(huge.status, 431, "over the head's limit");
    assert!(!pod.log().contains(&good), "a token never reaches the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_deleted_pod_writes_no_more() {
    let stage = Stage::new().await;
    let pod = stage.pod("portolan-0", &[]).await;
    let program = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "program", "namespace": stage.shop},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "a", "image": "a"}]},
    });
    let kubectl = stage.plane.kubectl();
    kubectl.apply(&program.to_string()).await.expect("created");
    let bound = ["--audience=portolan", "--bound-object-kind=Pod", "--bound-object-name=program"];
    let (used, unused) = (stage.token(&bound).await, stage.token(&bound).await);
    let mut body = registration(&stage.shop, "users");
    assert_eq!(register(&pod, &used, &body).await.status, 200);
    kubectl
        .run(&["delete", "pod", "program", "-n", &stage.shop, "--force", "--grace-period=0"])
        .await
        .expect("deleted");
    // No call only renews: each has another weight.
    let mut weight = 1;
    for token in [&unused, &used] {
        until("it is refused", async || {
            weight = weight % 900 + 1;
            body["weight"] = json!(weight);
            let answer = register(&pod, token, &body).await;
            answer.status == 401 && reason(&answer).contains("its pod or its ServiceAccount is gone")
        })
        .await;
    }
    let by_account = stage.projected().await;
    assert_eq!(register(&pod, &by_account, &body).await.status, 200, "the ServiceAccount is still there");
    kubectl.run(&["delete", "serviceaccount", "api", "-n", &stage.shop]).await.expect("deleted");
    until("it is refused", async || {
        weight = weight % 900 + 1;
        body["weight"] = json!(weight);
        register(&pod, &by_account, &body).await.status == 401
    })
    .await;
}

/// RSA is what most clusters sign with; the other tests use ES256. This cluster has had another key and another issuer, and still accepts both.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_signed_with_rsa_are_taken_and_those_from_before_a_rotation() {
    let key = repository().join("src/crypto/testdata/rsa-pkcs8.pem");
    let options = ["service-account-key-file", "service-account-signing-key-file"];
    let options = options
        .iter()
        .fold(Options::default().without_audit(), |options, name| options.flag(&format!("--{name}={}", key.display())));
    let options = options.flag(&format!("--service-account-issuer={FORMER}"));
    let plane = ControlPlane::start_with(options).await.expect("a control plane");
    let stage = Stage::at(&plane).await;
    let (pod, token) = (stage.pod("portolan-0", &[("PORTOLAN_TOKEN_ISSUERS", FORMER)]).await, stage.projected().await);
    assert_eq!(part(token.split('.').next().expect("a header"))["alg"], "RS256");
    let registered = register(&pod, &token, &registration(&stage.shop, "users")).await;
    assert_eq!(registered.status, 200, "{}", registered.text);
    let (rest, _) = token.rsplit_once('.').expect("three parts");
    let refused = register(&pod, &format!("{rest}.{}", "A".repeat(342)), &registration(&stage.shop, "users")).await;
    assert!(reason(&refused).contains("signature does not match the key"), "{}", refused.text);

    let keys: Value =
        serde_json::from_str(&plane.kubectl().run(&["get", "--raw", "/openid/v1/jwks"]).await.expect("keys"))
            .expect("JSON");
    let keys = keys["keys"].as_array().expect("a list");
    let before = keys.iter().find(|key| key["kty"] == "EC").expect("the key from before");
    let header = json!({"alg": "ES256", "kid": before["kid"]});
    let signer = Signer::like(&plane, &token);
    let body = registration(&stage.shop, "former");
    for claims in [json!({}), json!({"iss": FORMER})] {
        let registered = register(&pod, &signer.token(&header, &claims), &body).await;
        assert_eq!(registered.status, 200, "{claims}: {}", registered.text);
    }
    let refused = register(&pod, &signer.token(&header, &json!({"iss": "https://other"})), &body).await;
    assert!(reason(&refused).contains("not issued by"), "{}", refused.text);
}
