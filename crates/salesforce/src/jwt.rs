//! The signed assertion of the JWT bearer flow.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::json;

use crate::error::Error;

/// How long an assertion is valid: less than the three minutes that Salesforce accepts.
const LIFETIME: u64 = 120;

/// Reads an RSA key in PEM form: PKCS #8 (`PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`).
pub(crate) fn key(pem: &str) -> Result<KeyPair, Error> {
    let invalid = |why: &str| Error::Key(why.to_owned());
    if pem.contains("ENCRYPTED") {
        return Err(invalid("it is encrypted; decrypt it with `openssl pkey -in KEY -out DECRYPTED`"));
    }
    let begin = |name: &str| pem.find(&format!("-----BEGIN {name}-----"));
    let (name, from) = ["PRIVATE KEY", "RSA PRIVATE KEY"]
        .into_iter()
        .find_map(|name| Some((name, begin(name)?)))
        .ok_or_else(|| {
            let what = if pem.contains("CERTIFICATE") || pem.contains("PUBLIC KEY") {
                "it is a certificate or a public key; the private key belongs here"
            } else {
                "it is no RSA key in PEM form, which begins with -----BEGIN PRIVATE KEY-----"
            };
            invalid(what)
        })?;
    let lines = pem[from..].lines().skip(1).take_while(|line| !line.starts_with("-----END"));
    let text: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(text).map_err(|_| invalid("its base64 is damaged"))?;
    let key = if name == "PRIVATE KEY" { KeyPair::from_pkcs8(&der) } else { KeyPair::from_der(&der) };
    key.map_err(|rejected| invalid(&format!("it is no RSA key of 2048 bits or more ({rejected})")))
}

/// Signs an assertion for this moment.
pub(crate) fn assertion(key: &KeyPair, client_id: &str, user: &str, audience: &str) -> Result<String, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let claims = json!({"iss": client_id, "sub": user, "aud": audience, "exp": now + LIFETIME});
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(r#"{"alg":"RS256"}"#), part(&claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| Error::Key("it cannot sign".to_owned()))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
