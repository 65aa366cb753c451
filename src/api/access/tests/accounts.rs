//! Tokens of a cluster's ServiceAccounts: which are taken, what the cluster is asked about their holders, and what follows while it is away.
//! The cluster itself is real in `tests/cluster`; here it says what a test needs.

mod rights;
mod slow;

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use hmac::Hmac;
use http::request::Parts;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::Sha256;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::model::ports::{AccessVerb, AuthorityError, IssuerKey, KeyForm, ReviewedToken, ServiceAccount, TokenIssuer};

const ISSUER: &str = "https://kubernetes.example";
const FORMER_ISSUER: &str = "https://former.example";

/// A cluster as far as access sees it.
struct Cluster {
    /// The second one signs only after [`Cluster::rotate`].
    pairs: [EcdsaKeyPair; 2],
    state: Mutex<State>,
    /// Whether answers about callers do not come.
    held: watch::Sender<bool>,
}

struct State {
    away: bool,
    keys: usize,
    in_force: bool,
    audiences: Vec<String>,
    allowed: BTreeSet<(&'static str, String)>,
    issuer_reads: usize,
    reviews: usize,
    questions: usize,
}

fn pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).expect("usable")
}

fn public(pair: &EcdsaKeyPair, id: &str) -> IssuerKey {
    let point = pair.public_key().as_ref();
    let text = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    IssuerKey { id: id.to_owned(), form: KeyForm::P256 { x: text(&point[1..33]), y: text(&point[33..]) } }
}

impl Cluster {
    fn new() -> Arc<Self> {
        let state = State {
            away: false,
            keys: 1,
            in_force: true,
            audiences: vec![AUDIENCE.to_owned()],
            allowed: BTreeSet::new(),
            issuer_reads: 0,
            reviews: 0,
            questions: 0,
        };
        Arc::new(Self { pairs: [pair(), pair()], state: Mutex::new(state), held: watch::Sender::new(false) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("sound")
    }

    /// A token signed by the key at that position, with some claims replaced.
    fn token_by(&self, key: usize, changes: &Value) -> String {
        let mut claims = claims_with(&json!({
            "iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:shop:api", "jti": "1",
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "api", "uid": "u"}, "pod": {"name": "p", "uid": "v"}},
        }));
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        self.signed(key, &json!({"alg": "ES256", "kid": format!("key-{key}")}), &claims)
    }

    fn signed(&self, key: usize, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.pairs[key].sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn token(&self) -> String {
        self.token_by(0, &json!({}))
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// The answer, once it is not held back.
    fn later<T: Send + 'static>(
        &self,
        answer: Result<T, AuthorityError>,
    ) -> BoxFuture<'static, Result<T, AuthorityError>> {
        let mut held = self.held.subscribe();
        async move {
            held.wait_for(|held| !held).await.expect("the cluster is there");
            answer
        }
        .boxed()
    }

    fn answer<T>(state: &State, answer: T) -> Result<T, AuthorityError> {
        if state.away { Err(AuthorityError::NoAnswer) } else { Ok(answer) }
    }
}

impl Authority for Cluster {
    fn issuer(&self) -> BoxFuture<'static, Result<TokenIssuer, AuthorityError>> {
        let mut state = self.state();
        state.issuer_reads += 1;
        let keys = self.pairs.iter().enumerate().take(state.keys);
        let keys = keys.map(|(at, pair)| public(pair, &format!("key-{at}"))).collect();
        let answer = Self::answer(&state, TokenIssuer { name: ISSUER.to_owned(), keys });
        std::future::ready(answer).boxed()
    }

    fn review(
        &self,
        _: SecretString,
        _: Arc<[String]>,
    ) -> BoxFuture<'static, Result<Option<ReviewedToken>, AuthorityError>> {
        let mut state = self.state();
        state.reviews += 1;
        let user = "system:serviceaccount:shop:api".to_owned();
        let review = state.in_force.then(|| ReviewedToken { user, audiences: state.audiences.clone() });
        self.later(Self::answer(&state, review))
    }

    fn allows(
        &self,
        _: Arc<ServiceAccount>,
        verb: AccessVerb,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'static, Result<bool, AuthorityError>> {
        let mut state = self.state();
        state.questions += 1;
        let question = (verb.as_str(), namespace.map_or_else(|| "*".to_owned(), |name| name.to_string()));
        let allowed = state.allowed.contains(&question);
        self.later(Self::answer(&state, allowed))
    }
}

/// Access in that cluster; its keys are read once `settle` returns.
struct Server {
    world: Box<World>,
    stop: CancellationToken,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Server {
    async fn start(cluster: &Arc<Cluster>, settings: AccessSettings, secret: bool) -> Self {
        let accounts = AccountSettings {
            audiences: vec!["also".to_owned()],
            issuers: vec![FORMER_ISSUER.to_owned()],
            keys_file: None,
        };
        Self::with(cluster, settings, accounts, secret).await
    }

    async fn with(cluster: &Arc<Cluster>, settings: AccessSettings, accounts: AccountSettings, secret: bool) -> Self {
        let server = Self::spawn(cluster, settings, accounts, secret);
        server.settle(Duration::from_millis(1)).await;
        server
    }

    fn spawn(cluster: &Arc<Cluster>, settings: AccessSettings, accounts: AccountSettings, secret: bool) -> Self {
        let clock = Clock::manual(Now { steady: START, wall: START });
        let metrics = Metrics::default();
        let secrets = secret.then(|| Secrets::inline(&SecretString::from(SECRET)).expect("strong"));
        let authority = (Arc::clone(cluster) as _, accounts);
        let access = Access::in_cluster(settings, secrets, authority, metrics.clone(), clock.clone());
        let (refresher, reviewer) = (access.keys_refresher(), access.reviewer());
        let (refresher, reviewer) = refresher.zip(reviewer).expect("in a cluster");
        let stop = CancellationToken::new();
        let stopped = || stop.clone();
        let tasks = [
            tokio::spawn(refresher.run(stopped()).map(|ended| ended.expect("never fails"))),
            tokio::spawn(reviewer.run(stopped()).map(|ended| ended.expect("never fails"))),
        ];
        Self { world: Box::new(World { access, metrics, clock }), stop, tasks }
    }

    /// Lets that much time pass for the refresher, whose clock the runtime moves.
    async fn settle(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("no panic");
        }
    }

    fn code(&self, token: &str) -> &'static str {
        self.world.code(&Ask::register().bearer(token))
    }

    /// Admits the request and asks the cluster what else it must; then whether the caller may write in `namespace`.
    async fn write(&self, ask: Ask, place: Place, verb: AccessVerb) -> Result<Principal, ApiError> {
        let mut admitted = self.world.ask(&ask)?;
        let head = head(&ask);
        self.world.access.authorize(&head, admitted.class, (place, verb), &mut admitted.principal).await?;
        Ok(admitted.principal)
    }
}

fn head(ask: &Ask) -> Parts {
    ask.request().into_parts().0
}

fn one(namespace: &str) -> Place {
    several(&[namespace])
}

fn several(namespaces: &[&str]) -> Place {
    Place::In(namespaces.iter().map(|name| name.parse().expect("a label")).collect())
}

fn drain() -> Ask {
    Ask::new("PUT", "/api/v1/services/01900000-0000-7000-8000-000000000001/instances/a/drain")
}

fn beat() -> Ask {
    Ask::new("PUT", "/api/v1/services/01900000-0000-7000-8000-000000000001/instances/a/heartbeat")
}

#[tokio::test(start_paused = true)]
async fn a_service_account_is_itself_and_registers_in_its_own_namespace() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), false).await;
    let admitted = server.world.ask(&Ask::register().bearer(&cluster.token())).expect("admitted");
    let principal = admitted.principal;
    let owner = Owner::Token { issuer: "kubernetes".into(), subject: "system:serviceaccount:shop:api".into() };
    assert_eq!(principal.caller(), crate::model::ports::Caller { owner, admin: false });
    assert!(principal.may_write("shop") && !principal.may_write("default") && !principal.scopes.admin);
    let who = principal.who();
    assert_eq!((who.kind.as_str(), who.issuer), ("service_account", "kubernetes"));
    assert_eq!(who.subject, "system:serviceaccount:shop:api");
    for _ in 0..2 {
        let again = server.world.ask(&Ask::register().bearer(&cluster.token())).expect("admitted").principal;
        assert_eq!(again.client, principal.client, "one client for the rate limit");
    }
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_clusters_own_token_for_portolan_is_refused() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), true).await;
    let with = |changes: Value| server.code(&cluster.token_by(0, &changes));
    assert_eq!(with(json!({})), "admitted");
    assert_eq!(with(json!({"aud": "also"})), "admitted");
    assert_eq!(with(json!({"iss": FORMER_ISSUER})), "admitted", "one that the settings name");
    assert_eq!(with(json!({"exp": START_S - 31})), "token_expired");
    let account = |namespace: Value, name: Value| json!({"kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}}});
    for changes in [
        json!({"aud": ["https://kubernetes.default.svc"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"iss": "https://other.example"}),
        json!({"iss": null}),
        json!({"exp": null}),
        json!({"exp": START_S + 31 * 24 * 3600}),
        json!({"nbf": START_S + 60}),
        json!({"sub": "ada"}),
        json!({"sub": "system:serviceaccount:bank:api"}),
        json!({"sub": "system:serviceaccount:shop:api\n"}),
        account(json!("bank"), json!("api")),
        account(json!("shop"), json!("other")),
        account(json!("shop"), json!(null)),
        json!({"kubernetes.io": null}),
    ] {
        assert_eq!(with(changes.clone()), "token_invalid", "{changes}");
    }
    let header = |header: Value| server.code(&cluster.signed(0, &header, &claims()));
    for wrong in [
        json!({"alg": "none", "kid": "key-0"}),
        json!({"alg": "RS256", "kid": "key-0"}),
        json!({"alg": "ES384", "kid": "key-0"}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": 7}),
        json!({"alg": "ES256", "kid": "key-0", "crit": ["b64"], "b64": false}),
    ] {
        assert_eq!(header(wrong.clone()), "token_invalid", "{wrong}");
    }
    // Signed by a key that the token brings itself.
    let own = pair();
    let IssuerKey { form: KeyForm::P256 { x, y }, .. } = public(&own, "mine") else { unreachable!("P-256") };
    let jwk = json!({"alg": "ES256", "kid": "key-0", "jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": y}});
    let message = format!("{}.{}", part(&jwk), part(&claims()));
    let signature = own.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
    assert_eq!(server.code(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))), "token_invalid");
    // The classic confusion: the public key as the secret of an HMAC.
    for secret in [cluster.pairs[0].public_key().as_ref(), x_of(&cluster).as_bytes()] {
        let forged = forge::<Hmac<Sha256>>(&json!({"alg": "HS256", "kid": "key-0"}), &claims(), secret);
        assert_eq!(server.code(&forged), "token_invalid");
    }
    let token = cluster.token();
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let other = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(server.code(&format!("{signed}.{other}{}", &signature[1..])), "token_invalid");
    assert_eq!(server.code(&format!("{token}.{token}")), "token_invalid");
    assert_eq!(server.code(&cluster.token_by(0, &json!({"pad": "x".repeat(9000)}))), "token_invalid");
    server.stop().await;
}

fn x_of(cluster: &Cluster) -> String {
    let IssuerKey { form: KeyForm::P256 { x, .. }, .. } = public(&cluster.pairs[0], "") else { unreachable!("P-256") };
    x
}

#[tokio::test(start_paused = true)]
async fn portolans_own_tokens_count_where_there_is_a_secret_and_never_pass_for_an_account() {
    let cluster = Cluster::new();
    let both = Server::start(&cluster, settings(), true).await;
    let own = token_of(&claims());
    assert_eq!((both.code(&own), both.code(&cluster.token())), ("admitted", "admitted"));
    let posing = token_of(&claims_with(&json!({"iss": "kubernetes", "sub": "system:serviceaccount:shop:api"})));
    assert_eq!(both.code(&posing), "token_invalid");
    both.stop().await;
    let server = Server::start(&cluster, settings(), false).await;
    let why = |token: &str| {
        let error = server.world.ask(&Ask::register().bearer(token)).expect_err("refused");
        error.hinted().expect("a reason").to_owned()
    };
    assert!(why(&own).contains("no secret that verifies HS256"), "{}", why(&own));
    assert!(why("x.y").contains("not a JSON Web Token"));
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    assert!(why(&none).contains("names the algorithm RS256 or ES256"), "{}", why(&none));
    assert_eq!(server.world.code(&Ask::register()), "token_required");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn keys_outlast_an_outage_and_strangers_do_not_decide_how_often_they_are_read() {
    let cluster = Cluster::new();
    cluster.state().away = true;
    let unlimited = AccessSettings { rate_per_minute: None, read_rate_per_minute: None, ..settings() };
    let server = Server::start(&cluster, unlimited, false).await;
    let refused = server.world.ask(&Ask::register().bearer(&cluster.token())).expect_err("no keys yet");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.into_reply().headers().contains_key("retry-after"));
    cluster.state().away = false;
    server.settle(Duration::from_secs(2)).await;
    assert_eq!(server.code(&cluster.token()), "admitted");

    // For ten minutes, every second somebody shows a token with a made-up key.
    let reads = cluster.state().issuer_reads;
    let made_up = cluster.signed(1, &json!({"alg": "ES256", "kid": "made-up"}), &claims());
    for _ in 0..600 {
        assert_eq!(server.code(&made_up), "token_invalid");
        server.settle(Duration::from_secs(1)).await;
    }
    let reads = cluster.state().issuer_reads - reads;
    assert!((50..=61).contains(&reads), "{reads} readings in 600 s");

    // A new key is found by the first token that it signed.
    let newer = cluster.token_by(1, &json!({}));
    assert_eq!(server.code(&newer), "token_invalid");
    cluster.state().keys = 2;
    server.settle(Duration::from_secs(21)).await;
    assert_eq!((server.code(&newer), server.code(&cluster.token())), ("admitted", "admitted"));
    cluster.state().away = true;
    server.settle(Duration::from_hours(1)).await;
    assert_eq!((server.code(&newer), server.code(&cluster.token())), ("admitted", "admitted"));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn keys_outlast_a_restart_while_the_cluster_is_away() {
    let (cluster, folder) = (Cluster::new(), tempfile::tempdir().expect("a folder"));
    let accounts = || AccountSettings { keys_file: Some(folder.path().join("keys")), ..AccountSettings::default() };
    let start = async || Server::with(&cluster, settings(), accounts(), false).await;
    cluster.state().away = true;
    let server = start().await;
    assert_eq!(server.code(&cluster.token()), "unavailable", "no run has read any");
    cluster.state().away = false;
    server.settle(Duration::from_secs(2)).await;
    assert_eq!(server.code(&cluster.token()), "admitted");
    server.stop().await;

    cluster.state().away = true;
    let server = start().await;
    assert_eq!(server.code(&cluster.token()), "admitted", "by the keys of the run before");
    assert_eq!(server.code(&cluster.token_by(1, &json!({}))), "token_invalid");
    cluster.state().away = false;
    cluster.state().keys = 2;
    server.settle(Duration::from_secs(21)).await;
    assert_eq!(server.code(&cluster.token_by(1, &json!({}))), "admitted", "read from the cluster again");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_the_key_of_its_token() {
    let cluster = Cluster::new();
    cluster.state().keys = 2;
    let server = Server::start(&cluster, settings(), false).await;
    let of =
        |key: usize| server.world.ask(&Ask::discover().bearer(&cluster.token_by(key, &json!({})))).expect("admitted");
    let (old, new) = (of(0), of(1));
    let mut kept = server.world.access.token_validity(&old.principal).expect("a token");
    let mut ended = server.world.access.token_validity(&new.principal).expect("a token");
    assert_eq!((kept.ended(), ended.ended()), (None, None));
    cluster.state().keys = 1;
    server.settle(Duration::from_secs(301)).await;
    assert_eq!((kept.ended(), ended.ended()), (None, Some(TokenEnd::Revoked)));
    server.world.pass(Duration::from_hours(2));
    assert_eq!(kept.ended(), Some(TokenEnd::Expired));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_needs_a_token_that_the_cluster_still_accepts() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async || server.write(drain().bearer(&token), one("shop"), AccessVerb::Update).await;
    for _ in 0..3 {
        write().await.expect("in force");
    }
    assert_eq!(cluster.state().reviews, 1, "a yes is good for a while");
    cluster.state().in_force = false;
    write().await.expect("still that yes");
    server.world.pass(Duration::from_secs(31));
    let refused = write().await.expect_err("the pod is gone");
    assert_eq!(refused.code, Code::TokenInvalid);
    assert!(refused.hinted().is_some_and(|hint| hint.contains("its pod or its ServiceAccount is gone")));
    write().await.expect_err("a no is good for a moment");
    assert_eq!(cluster.state().reviews, 2);
    server.world.ask(&Ask::discover().bearer(&token)).expect("reads need no review");

    cluster.state().in_force = true;
    cluster.state().audiences = vec!["https://kubernetes.default.svc".to_owned()];
    server.world.pass(Duration::from_secs(6));
    write().await.expect_err("accepted, but not for us");
    cluster.state().audiences = Vec::new();
    server.world.pass(Duration::from_secs(6));
    write().await.expect_err("an API server that does not know audiences");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_cluster_is_away_heartbeats_go_on_and_writes_wait() {
    let cluster = Cluster::new();
    let server = Server::start(&cluster, settings(), false).await;
    let token = cluster.token();
    let write = async |ask: Ask| server.write(ask.bearer(&token), one("shop"), AccessVerb::Update).await;
    cluster.state().away = true;
    let refused = write(drain()).await.expect_err("nobody says whether it may");
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(refused.into_reply().headers()["retry-after"], "5");
    write(beat()).await.expect("a lease must not expire for that");
    server.settle(Duration::from_millis(1)).await;
    cluster.state().away = false;
    cluster.state().in_force = false;
    write(beat()).await.expect("it is being asked");
    server.settle(Duration::from_millis(1)).await;
    assert_eq!(write(beat()).await.expect_err("now it is known").code, Code::TokenInvalid);
    cluster.state().away = true;
    server.world.pass(Duration::from_hours(1));
    assert_eq!(write(beat()).await.expect_err("it stays known").code, Code::TokenInvalid);
    server.stop().await;
}
