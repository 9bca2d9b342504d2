//! Tokens let in whom they name, for what they say and as long as they say.
#![cfg(feature = "oauth2")]

mod support;

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use leveret_auth::{OAuth2, OAuth2Settings, SigningKey};
use leveret_broker::{Question, ResourceKind, Right, Tag};
use serde_json::json;
use support::issuer::{AUDIENCE, Issuer, claims, in_an_hour, private_pem, public_pem};
use support::{authorizer, log_in, may};

/// A backend that knows the key of this issuer from a file.
fn backend(issuer: &Issuer) -> OAuth2 {
    OAuth2::new(settings(issuer)).unwrap()
}

fn settings(issuer: &Issuer) -> OAuth2Settings {
    let mut settings = OAuth2Settings::new(AUDIENCE);
    settings.keys =
        vec![SigningKey::from_pem(Some("a".into()), issuer.public_pem().as_bytes()).unwrap()];
    settings
}

#[track_caller]
fn check_refused<T>(outcome: Result<T, leveret_broker::LoginRefused>, words: &str) {
    let Err(refused) = outcome else {
        panic!("it is let in");
    };
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(!refused.is_unavailable(), "{refused}");
}

#[tokio::test]
async fn a_token_says_who_its_bearer_is_and_what_he_may_do() {
    let issuer = Issuer::new("a");
    let scope = "mq.read:shop/orders-*/eu.* mq.write:shop/* mq.tag:monitoring openid";
    let mut token = claims("ann", scope);
    token["exp"] = json!(in_an_hour());
    let ann = log_in(&backend(&issuer), "whoever", issuer.sign(&token))
        .await
        .unwrap();
    assert_eq!(&**ann.username(), "ann");
    assert_eq!(ann.tags(), [Tag::Monitoring]);
    let expiry = Duration::from_secs(token["exp"].as_u64().unwrap());
    assert_eq!(ann.expires_at(), Some(UNIX_EPOCH + expiry));

    let vhost = |vhost| Question::VirtualHost { vhost, peer: None };
    assert!(may(&ann, vhost("shop")).await);
    assert!(!may(&ann, vhost("/")).await);
    let resource = |name, right| Question::Resource {
        vhost: "shop",
        kind: ResourceKind::Exchange,
        name,
        right,
    };
    assert!(may(&ann, resource("orders-1", Right::Read)).await);
    assert!(may(&ann, resource("anything", Right::Write)).await);
    assert!(!may(&ann, resource("anything", Right::Read)).await);
    assert!(!may(&ann, resource("orders-1", Right::Configure)).await);
    let topic = |routing_key| Question::Topic {
        vhost: "shop",
        exchange: "orders-1",
        routing_key,
        right: Right::Read,
        client_id: None,
    };
    assert!(may(&ann, topic("eu.at")).await);
    assert!(!may(&ann, topic("us.ny")).await);
}

#[tokio::test]
async fn a_new_token_of_the_same_user_takes_the_place_of_the_old() {
    let issuer = Issuer::new("a");
    let backend = backend(&issuer);
    let old = issuer.sign(&claims("ann", "mq.read:*/old"));
    let ann = log_in(&backend, "ann", old).await.unwrap();
    let new = issuer.sign(&claims("ann", "mq.read:*/new"));
    let renewed = authorizer(&ann)
        .renew(new.as_bytes())
        .await
        .unwrap()
        .unwrap();
    let read = |name| Question::Resource {
        vhost: "/",
        kind: ResourceKind::Queue,
        name,
        right: Right::Read,
    };
    assert!(may(&ann, read("old")).await);
    assert!(!may(&renewed, read("old")).await);
    assert!(may(&renewed, read("new")).await);
    assert!(renewed.expires_at().is_some());

    let of_bob = issuer.sign(&claims("bob", "mq.read:*/*"));
    check_refused(
        authorizer(&renewed).renew(of_bob.as_bytes()).await,
        "another user, 'bob'",
    );
    check_refused(
        authorizer(&renewed).renew(b"garbage").await,
        "no JSON Web Token",
    );
}

#[tokio::test]
async fn what_is_not_signed_by_the_issuer_is_refused() {
    let (issuer, other) = (Issuer::new("a"), Issuer::new("a"));
    let backend = backend(&issuer);
    let right = issuer.sign(&claims("ann", ""));
    let check = async |token: &str, words: &str| {
        check_refused(log_in(&backend, "ann", token).await, words);
    };
    log_in(&backend, "ann", &right).await.unwrap();
    check(&other.sign(&claims("ann", "")), "signature is wrong").await;
    // The same signature under other claims.
    let (head, tail) = right.split_once('.').unwrap();
    let (_, signature) = tail.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD.encode(claims("root", "").to_string());
    check(
        &format!("{head}.{claims}.{signature}"),
        "signature is wrong",
    )
    .await;
    check(&format!("{head}.{claims}."), "signature is wrong").await;
    for garbage in [
        "",
        "x",
        "a.b.c",
        "..",
        &format!("{head}.{claims}"),
        &format!("{right}.x"),
    ] {
        check(garbage, "no JSON Web Token").await;
    }
    check_refused(
        log_in(&backend, "ann", b"\xff\xfe").await,
        "no JSON Web Token",
    );
}

#[tokio::test]
async fn no_other_algorithm_than_the_keys_own_is_believed() {
    let issuer = Issuer::new("a");
    let backend = backend(&issuer);
    let claims = claims("ann", "");
    let check = async |token: &str, words: &str| {
        check_refused(log_in(&backend, "ann", token).await, words);
    };
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for none in ["none", "None", "NONE", ""] {
        let header = part(&format!(r#"{{"alg":"{none}","kid":"a"}}"#));
        let token = format!("{header}.{}.", part(&claims.to_string()));
        check(&token, "no JSON Web Token").await;
    }
    // The public key as a secret, which everybody has.
    let header = Header {
        kid: Some("a".into()),
        ..Header::new(Algorithm::HS256)
    };
    let pem = issuer.public_pem();
    let key = EncodingKey::from_secret(pem.as_bytes());
    check(
        &encode(&header, &claims, &key).unwrap(),
        "key 'a', which is not known",
    )
    .await;
    let mut header = issuer.header();
    header.crit = Some(vec!["b64".into()]);
    check(&issuer.sign_with(&header, &claims), "have to be understood").await;

    let mut settings = settings(&issuer);
    settings.algorithms = vec![Algorithm::RS256];
    let backend = OAuth2::new(settings).unwrap();
    check_refused(
        log_in(&backend, "ann", issuer.sign(&claims)).await,
        "ES256 is not allowed",
    );
}

#[tokio::test]
async fn a_secret_can_be_shared_with_the_issuer() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let mut settings = OAuth2Settings::new(AUDIENCE);
    settings.keys = vec![SigningKey::from_secret(None, secret).unwrap()];
    settings.algorithms = vec![Algorithm::HS256];
    let backend = OAuth2::new(settings).unwrap();
    let sign = |secret: &[u8]| {
        let key = EncodingKey::from_secret(secret);
        encode(&Header::new(Algorithm::HS256), &claims("ann", ""), &key).unwrap()
    };
    log_in(&backend, "ann", sign(secret)).await.unwrap();
    let outcome = log_in(&backend, "ann", sign(b"guess")).await;
    check_refused(outcome, "signature is wrong");
    let short = SigningKey::from_secret(None, &secret[1..]);
    assert!(short.unwrap_err().to_string().contains("32 bytes"));
}

#[tokio::test]
async fn a_token_without_a_key_id_means_the_only_key_or_the_default_one() {
    let (one, other) = (Issuer::new("a"), Issuer::new("b"));
    let unnamed = Header::new(Algorithm::ES256);
    let token = one.sign_with(&unnamed, &claims("ann", ""));
    log_in(&backend(&one), "ann", &token).await.unwrap();

    let mut settings = settings(&one);
    let pem = other.public_pem();
    settings
        .keys
        .push(SigningKey::from_pem(Some("b".into()), pem.as_bytes()).unwrap());
    let both = OAuth2::new(settings.clone()).unwrap();
    check_refused(log_in(&both, "ann", &token).await, "names no key");
    settings.default_key = Some("a".into());
    let both = OAuth2::new(settings).unwrap();
    log_in(&both, "ann", &token).await.unwrap();
    log_in(&both, "ann", other.sign(&claims("bob", "")))
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_of_every_kind_are_read_from_files() {
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
    let kinds = [
        (&PKCS_RSA_SHA256, Algorithm::RS256),
        (&PKCS_RSA_SHA256, Algorithm::PS512),
        (&PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        (&PKCS_ED25519, Algorithm::EdDSA),
    ];
    for (kind, algorithm) in kinds {
        let pair = KeyPair::generate_for(kind).unwrap();
        let mut settings = OAuth2Settings::new(AUDIENCE);
        let pem = public_pem(&pair);
        settings.keys = vec![SigningKey::from_pem(None, pem.as_bytes()).unwrap()];
        let private = private_pem(&pair);
        let key = match algorithm {
            Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_rsa_pem(private.as_bytes()),
        };
        let token = encode(&Header::new(algorithm), &claims("ann", ""), &key.unwrap()).unwrap();
        let backend = OAuth2::new(settings).unwrap();
        log_in(&backend, "ann", token).await.unwrap();
    }
}

#[test]
fn debug_output_shows_no_passwords_of_addresses() {
    let check = |change: &dyn Fn(&mut OAuth2Settings)| {
        let mut settings = OAuth2Settings::new(AUDIENCE);
        change(&mut settings);
        let backend = OAuth2::new(settings.clone()).unwrap();
        for shown in [format!("{settings:?}"), format!("{backend:?}")] {
            assert!(shown.contains("id.example/x"), "{shown}");
            assert!(
                !shown.contains("7hg2") && !shown.contains("9kd4"),
                "{shown}"
            );
        }
    };
    let address = || Some("https://ann:7hg2@id.example/x?key=9kd4".to_owned());
    check(&|to| to.jwks_url = address());
    check(&|to| to.issuer = Some("https://ann:7hg2@id.example/x".to_owned()));
    check(&|to| (to.issuer, to.jwks_url) = (address(), address()));
}

#[test]
fn mistakes_in_settings_are_told_of() {
    let issuer = Issuer::new("a");
    let problem = |pem: &str| {
        let outcome = SigningKey::from_pem(None, pem.as_bytes());
        outcome.unwrap_err().to_string()
    };
    assert!(problem(&issuer.private_pem()).contains("private key"));
    assert!(problem("hello").contains("no public key"));

    let check = |change: &dyn Fn(&mut OAuth2Settings), words: &str| {
        let mut settings = settings(&issuer);
        change(&mut settings);
        let problem = OAuth2::new(settings).unwrap_err().to_string();
        assert!(problem.contains(words), "{problem}");
    };
    check(&|to| to.keys.clear(), "there are no keys");
    check(
        &|to| to.algorithms = vec![Algorithm::HS512],
        "need a secret",
    );
    check(&|to| to.jwks_url = Some("nonsense".into()), "http://");
    check(&|to| to.issuer = Some("id.example".into()), "http://");
    check(&|to| to.resource_server_id.clear(), "resource-server-id");
}
