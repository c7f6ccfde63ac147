//! Says something to a configuration and looks at what comes of it.

use whub_server::config::{Assignment, Config, ConfigFile, Input, Loaded, load};

/// What a configuration was told.
#[derive(Debug, Default)]
pub(crate) struct Said(Input);

pub(crate) fn said() -> Said {
    Said::default()
}

impl Said {
    pub(crate) fn file(mut self, text: &str) -> Self {
        self.0.file = Some(ConfigFile::new("whub.toml", text));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.0.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn set(mut self, text: &str) -> Self {
        self.0.flags.push(Assignment::set(text).expect("key=value"));
        self
    }

    pub(crate) fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.0.flags.push(Assignment::flag(flag, key, value));
        self
    }

    pub(crate) fn flags(mut self, flag: &str, key: &str, values: &[&str]) -> Self {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        self.0.flags.push(Assignment::flags(flag, key, &values));
        self
    }

    pub(crate) fn loaded(self) -> Loaded {
        load(&self.0).unwrap_or_else(|problems| panic!("{problems}"))
    }

    pub(crate) fn config(self) -> Config {
        self.loaded().config
    }

    pub(crate) fn error(self) -> String {
        load(&self.0).expect_err("the configuration is accepted").to_string()
    }
}
