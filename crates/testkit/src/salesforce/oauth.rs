//! The OAuth token endpoint.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::FakeSalesforce;
use super::org::Org;
use crate::peer::{Answer, Request};

/// An assertion may be valid for so long from now, as Salesforce has it.
const LONGEST_ASSERTION: u64 = 180;

pub(super) fn answer(org: &mut Org, request: &Request) -> Answer {
    let fields = form(&String::from_utf8_lossy(&request.body));
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    if let Some(error) = org.login_error.clone() {
        return refusal(org, &error, "refused as the test wants");
    }
    let is_app = field("client_id") == "app";
    let has_secret = field("client_secret") == "app-secret";
    let grant = field("grant_type").to_owned();
    let outcome = match &*grant {
        "client_credentials" if is_app && has_secret => Ok(()),
        "password" if is_app && has_secret => {
            let user = field("username") == "ann@example.com" && field("password") == "open-sesame";
            if user { Ok(()) } else { Err(("invalid_grant", "authentication failure")) }
        }
        "refresh_token" if is_app => {
            if field("refresh_token") == "refresh-1" {
                Ok(())
            } else {
                Err(("invalid_grant", "expired access/refresh token"))
            }
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => check_assertion(org, field("assertion")),
        "client_credentials" | "password" | "refresh_token" => {
            Err(("invalid_client", "invalid client credentials"))
        }
        _ => Err(("unsupported_grant_type", "grant type not supported")),
    };
    if let Err((error, description)) = outcome {
        return refusal(org, error, description);
    }
    org.logins.push(grant.clone());
    let token = org.new_name("access-token");
    org.tokens.insert(token.clone(), Instant::now() + org.token_lifetime);
    let mut granted = json!({
        "access_token": token,
        "instance_url": org.url,
        "id": format!("{}/id/00D000000000001EAA/005000000000001AAA", org.url),
        "token_type": "Bearer",
        "issued_at": "1780000000000",
    });
    if grant == "password" {
        granted["refresh_token"] = "refresh-1".into();
    }
    Answer::body(granted.to_string())
}

fn refusal(org: &Org, error: &str, description: &str) -> Answer {
    let date = httpdate::fmt_http_date(SystemTime::now() + org.clock_ahead);
    let body = json!({"error": error, "error_description": description}).to_string();
    let text = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer::raw(text)
}

fn check_assertion(org: &Org, assertion: &str) -> Result<(), (&'static str, &'static str)> {
    let invalid = Err(("invalid_grant", "invalid assertion"));
    let Some((signed, signature)) = assertion.rsplit_once('.') else { return invalid };
    let Some((_, claims)) = signed.split_once('.') else { return invalid };
    let (Ok(signature), Ok(claims)) = (URL_SAFE_NO_PAD.decode(signature), URL_SAFE_NO_PAD.decode(claims))
    else {
        return invalid;
    };
    let key =
        ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public_key());
    if key.verify(signed.as_bytes(), &signature).is_err() {
        return invalid;
    }
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let now = (SystemTime::now() + org.clock_ahead).duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let expires = claims["exp"].as_u64().unwrap_or(0);
    if expires <= now {
        return Err(("invalid_grant", "expired authorization code"));
    }
    if expires > now + LONGEST_ASSERTION + 60 {
        return Err(("invalid_grant", "assertion is not valid for that long"));
    }
    if claims["iss"] != "app" {
        return Err(("invalid_client", "client identifier invalid"));
    }
    if claims["sub"] != "ann@example.com" {
        return Err(("invalid_grant", "user hasn't approved this consumer"));
    }
    Ok(())
}

#[expect(clippy::expect_used, reason = "the key is part of this crate")]
fn public_key() -> Vec<u8> {
    let text: String = FakeSalesforce::JWT_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let pair = ring::rsa::KeyPair::from_pkcs8(&der).expect("a PKCS #8 key");
    pair.public().as_ref().to_vec()
}

fn form(body: &str) -> HashMap<String, String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        let hex = more
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .map(|hex| u8::from_str_radix(hex, 16));
        match (first, hex) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(Ok(byte))) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
