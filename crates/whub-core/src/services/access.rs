//! Who may call a service.
//!
//! The configuration wins. Without it the strictest of the providers does: a program that wants its callers to be known
//! gets no others because another program provides the same service more freely.

use std::sync::Arc;

use whub_proto::{Access, Code};

use crate::fault::Fault;

/// Who may call, from the most to the least open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessRule {
    /// Everybody whose grants cover the path.
    #[default]
    Public,
    /// Of those, whoever showed a credential.
    Authenticated,
    /// Of those, only these users.
    Named(Arc<[Box<str>]>),
}

impl AccessRule {
    /// What a provider asks for.
    ///
    /// # Errors
    /// `BadRequest` for users without `named`, and for numbers of a later version: who cannot be understood must not
    /// be served more freely than it wants.
    pub fn asked(access: Access, clients: impl Iterator<Item = impl Into<Box<str>>>) -> Result<Self, Fault> {
        let clients: Arc<[Box<str>]> = clients.map(Into::into).collect();
        match access {
            Access::Named => Ok(Self::Named(clients)),
            Access::Unspecified | Access::Public | Access::Authenticated if !clients.is_empty() => {
                let reason = "users are listed, but access is not `named`";
                Err(Fault::fatal(Code::BadRequest, "register.access", reason))
            }
            Access::Unspecified | Access::Public => Ok(Self::Public),
            Access::Authenticated => Ok(Self::Authenticated),
            Access::Unknown(number) => {
                let reason = format!("this hub does not know the access rule {number}");
                Err(Fault::fatal(Code::BadRequest, "register.access", reason))
            }
        }
    }

    /// Lets in only whom both let in.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Named(ours), Self::Named(theirs)) => {
                Self::Named(ours.iter().filter(|user| theirs.contains(user)).cloned().collect())
            }
            (Self::Named(_), _) => self.clone(),
            (_, Self::Named(_)) => other.clone(),
            (Self::Authenticated, _) | (_, Self::Authenticated) => Self::Authenticated,
            (Self::Public, Self::Public) => Self::Public,
        }
    }

    /// Whether a user may call; empty for anonymous callers.
    ///
    /// # Errors
    /// `Unauthorized` for callers that are unknown, `Forbidden` for those that are not named.
    pub fn admit(&self, user: &str) -> Result<(), Fault> {
        match self {
            Self::Public => Ok(()),
            Self::Authenticated | Self::Named(_) if user.is_empty() => Err(Fault::fatal(
                Code::Unauthorized,
                "service.unauthorized",
                "this service wants to know its callers; show a token",
            )),
            Self::Authenticated => Ok(()),
            Self::Named(users) if users.iter().any(|known| **known == *user) => Ok(()),
            Self::Named(_) => Err(Fault::fatal(
                Code::Forbidden,
                "service.forbidden",
                "this service is for other users; ask its provider to be named",
            )),
        }
    }

    /// Its name in lists: `public`, `authenticated` or `named`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
            Self::Named(_) => "named",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(users: &[&str]) -> AccessRule {
        AccessRule::asked(Access::Named, users.iter().copied()).unwrap()
    }

    #[test]
    fn each_rule_lets_in_whom_it_says() {
        for (rule, nobody, ada, bert) in [
            (AccessRule::Public, true, true, true),
            (AccessRule::Authenticated, false, true, true),
            (named(&["ada"]), false, true, false),
        ] {
            let admits = ["", "ada", "bert"].map(|user| rule.admit(user).is_ok());
            assert_eq!(admits, [nobody, ada, bert], "{rule:?}");
        }
        assert_eq!(named(&["ada"]).admit("").unwrap_err().code, Code::Unauthorized);
        assert_eq!(named(&["ada"]).admit("bert").unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn the_strictest_wins_and_lists_are_cut() {
        let rules = [AccessRule::Public, AccessRule::Authenticated, named(&["ada", "bert"])];
        for (index, one) in rules.iter().enumerate() {
            for (other_index, other) in rules.iter().enumerate() {
                assert_eq!(one.and(other), rules[index.max(other_index)]);
            }
        }
        assert_eq!(named(&["ada", "bert"]).and(&named(&["bert", "cy"])), named(&["bert"]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(AccessRule::asked(Access::Public, ["ada"].into_iter()).is_err());
        assert!(AccessRule::asked(Access::Unknown(9), std::iter::empty::<&str>()).is_err());
    }
}
