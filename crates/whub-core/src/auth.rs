//! Static tokens from the configuration.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use whub_proto::Code;

use crate::access::{Authenticator, Grants, Identity};
use crate::fault::Fault;

/// One token of the configuration.
pub struct Token {
    /// Who holds it; providers see it.
    pub name: Arc<str>,
    /// The secret; never printed.
    pub secret: Box<[u8]>,
    /// What its holder may do.
    pub grants: Arc<Grants>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// The tokens, and what peers without one may do.
#[derive(Debug)]
pub struct StaticTokens {
    /// Every known token.
    pub tokens: Vec<Token>,
    /// What a peer without token may do; `None` turns it away.
    pub anonymous: Option<Arc<Grants>>,
}

impl Authenticator for StaticTokens {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, Fault> {
        match token {
            Some(secret) => self.named(secret),
            None => self.nameless(),
        }
    }

    fn grants(&self, user: Option<&str>) -> Arc<Grants> {
        let found = match user {
            Some(user) => self.tokens.iter().find(|token| &*token.name == user).map(|token| &token.grants),
            None => self.anonymous.as_ref(),
        };
        found.cloned().unwrap_or_default()
    }
}

impl StaticTokens {
    fn named(&self, secret: &str) -> Result<Identity, Fault> {
        // Every token is compared, so that the time taken does not tell which one was close.
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.secret.ct_eq(secret.as_bytes())) {
                found = Some(token);
            }
        }
        let token = found.ok_or_else(unauthorized)?;
        Ok(Identity { user: Some(Arc::clone(&token.name)), grants: Arc::clone(&token.grants) })
    }

    fn nameless(&self) -> Result<Identity, Fault> {
        let grants = self.anonymous.as_ref().ok_or_else(unauthorized)?;
        Ok(Identity { user: None, grants: Arc::clone(grants) })
    }
}

fn unauthorized() -> Fault {
    Fault::fatal(
        Code::Unauthorized,
        "auth.invalid",
        "the hub does not know this token; set WHUB_TOKEN, or send `Authorization: Bearer <token>`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> StaticTokens {
        let token = Token { name: "ops".into(), secret: (*b"s3cret").into(), grants: Grants::all().into() };
        StaticTokens { tokens: vec![token], anonymous: None }
    }

    #[test]
    fn a_known_token_names_its_holder() {
        let identity = tokens().authenticate(Some("s3cret")).unwrap();
        assert_eq!(identity.user.as_deref(), Some("ops"));
    }

    #[test]
    fn wrong_and_missing_tokens_read_alike() {
        let wrong = tokens().authenticate(Some("s3cres")).unwrap_err();
        let missing = tokens().authenticate(None).unwrap_err();
        assert_eq!(wrong, missing);
        assert_eq!(wrong.code, Code::Unauthorized);
    }

    #[test]
    fn anonymous_peers_get_what_the_configuration_says() {
        let open = StaticTokens { tokens: Vec::new(), anonymous: Some(Grants::all().into()) };
        assert!(open.authenticate(None).unwrap().user.is_none());
        assert!(open.authenticate(Some("anything")).is_err());
    }

    #[test]
    fn what_somebody_may_do_is_known_by_the_name_alone() {
        let tokens = tokens();
        assert_eq!(*tokens.grants(Some("ops")), Grants::all());
        assert_eq!(*tokens.grants(Some("nobody")), Grants::none());
        assert_eq!(*tokens.grants(None), Grants::none());
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", tokens()).contains("s3cret"));
    }
}
