//! Flags of commands that provide something: what they say of it, and how much of it is asked at once.

use clap::Args;
use whub_client::{Access, Offer};

use crate::arguments::header;

/// What is said of a service
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Registration")]
pub(crate) struct OfferArgs {
    /// Name of a set of providers, for lists and statistics
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    group: String,

    /// Version of what is provided
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    version: String,

    /// One sentence for those who list services
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// More about it, for those who list services; may be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    meta: Vec<(String, String)>,

    /// Share of the calls against other providers of the same service
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    weight: u16,

    /// Who may call: public, authenticated, or names of users with commas between them
    #[arg(long, value_name = "WHO", default_value = "public", value_parser = access)]
    access: Access,

    /// Header of requests that is wanted although hubs keep it back, such as cookie; may be repeated
    #[arg(long, value_name = "NAME")]
    pass_header: Vec<String>,

    /// Calls that are taken at once; the hub asks other providers, or lets callers wait, beyond it
    #[arg(long, value_name = "NUMBER", alias = "at-once", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_inflight: Option<u32>,
}

impl OfferArgs {
    /// What is said.
    pub(crate) fn offer(&self) -> Offer {
        Offer {
            group: self.group.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            metadata: self.meta.clone(),
            weight: self.weight,
            access: self.access.clone(),
            pass_headers: self.pass_header.clone(),
        }
    }

    /// Calls that are taken at once.
    pub(crate) fn max_inflight(&self, default: u32) -> u32 {
        self.max_inflight.unwrap_or(default)
    }
}

fn access(text: &str) -> Result<Access, String> {
    match text {
        "public" => Ok(Access::Public),
        "authenticated" => Ok(Access::Authenticated),
        _ => {
            let users: Vec<String> = text.split(',').map(|user| user.trim().to_owned()).collect();
            if users.iter().any(String::is_empty) {
                return Err("write public, authenticated, or names such as ada,bert".to_owned());
            }
            Ok(Access::Named(users))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_a_word_or_a_list_of_users() {
        assert_eq!(access("public").unwrap(), Access::Public);
        assert_eq!(access("authenticated").unwrap(), Access::Authenticated);
        assert_eq!(access("ada, bert").unwrap(), Access::Named(vec!["ada".into(), "bert".into()]));
        assert!(access("ada,,bert").is_err() && access("").is_err());
    }
}
