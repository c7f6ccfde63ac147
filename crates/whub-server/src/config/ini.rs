//! Reads an INI file: sections in brackets, and `Key = Value` in them.
//!
//! Lines may end in CR LF; a byte order mark and white space around anything are passed over; `;` and `#` begin a
//! comment at the beginning of a line only, since a command or a URL may hold them. A value may stand in quotes.
//! Whatever is no such line is a [`Stray`]; what keys mean is left to others.

/// What a file says, in the order of its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ini {
    pub(crate) sections: Vec<Section>,
    pub(crate) strays: Vec<Stray>,
}

/// A section with its lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
}

/// `Key = Value`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// A line that is nothing of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) line: usize,
    pub(crate) kind: StrayKind,
}

/// What is the matter with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrayKind {
    /// It has no `=`.
    Words,
    /// It has one, but nothing before it.
    NoKey,
    /// It comes before the first section.
    Homeless,
    /// A `[` without its `]`, or something behind that.
    Bracket,
}

/// Reads all of it. Nothing is an error here.
pub(crate) fn parse(text: &str) -> Ini {
    let mut ini = Ini::default();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if let Err(kind) = ini.read(line.trim(), index + 1) {
            ini.strays.push(Stray { line: index + 1, kind });
        }
    }
    ini
}

impl Ini {
    fn read(&mut self, text: &str, line: usize) -> Result<(), StrayKind> {
        if text.is_empty() || text.starts_with([';', '#']) {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix('[') {
            let name = rest.strip_suffix(']').ok_or(StrayKind::Bracket)?.trim().to_owned();
            self.sections.push(Section { name, line, entries: Vec::new() });
            return Ok(());
        }
        let (key, value) = text.split_once('=').ok_or(StrayKind::Words)?;
        let (key, value) = (key.trim(), unquoted(value.trim()));
        if key.is_empty() {
            return Err(StrayKind::NoKey);
        }
        let section = self.sections.last_mut().ok_or(StrayKind::Homeless)?;
        section.entries.push(Entry { key: key.to_owned(), value: value.to_owned(), line });
        Ok(())
    }
}

/// Without the quotes around all of it. `"a b" "c"` has none of that kind.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inside) = inside.filter(|inside| !inside.contains(quote)) {
            return inside;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(ini: &Ini) -> Vec<(&str, Vec<(&str, &str)>)> {
        ini.sections
            .iter()
            .map(|section| {
                let entries = section.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str()));
                (section.name.as_str(), entries.collect())
            })
            .collect()
    }

    #[test]
    fn sections_have_keys_however_they_are_spaced() {
        let text = "\u{feff}; a comment\r\n\r\n  [ One ]  \r\n\tName=one\r\n  Port  =  8080  \r\n# another\r\n\
                    [Two]\nPath = \"/a b\"\nCommand = \"my server\" --port \"1\" ; not a comment\nUrl = 'ws://x/?a=b#c'\nHost =\n";
        let ini = parse(text);
        assert_eq!(
            said(&ini),
            [
                ("One", vec![("Name", "one"), ("Port", "8080")]),
                (
                    "Two",
                    vec![
                        ("Path", "/a b"),
                        ("Command", "\"my server\" --port \"1\" ; not a comment"),
                        ("Url", "ws://x/?a=b#c"),
                        ("Host", ""),
                    ]
                ),
            ]
        );
        assert_eq!(ini.strays, []);
        assert_eq!((ini.sections[0].line, ini.sections[1].entries[1].line), (3, 9));
    }

    #[test]
    fn what_fits_nowhere_is_told_with_its_line() {
        let ini = parse("Port = 1\n[open\n[a] b\nUsage\n= 5\n[]\n");
        let strays: Vec<_> = ini.strays.iter().map(|stray| (stray.line, stray.kind)).collect();
        assert_eq!(
            strays,
            [
                (1, StrayKind::Homeless),
                (2, StrayKind::Bracket),
                (3, StrayKind::Bracket),
                (4, StrayKind::Words),
                (5, StrayKind::NoKey),
            ]
        );
        assert_eq!(said(&ini), [("", vec![])]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in r"([\[\]=;#'\u{feff}\r\n\t a-zé]|\PC)*") {
            let ini = parse(&text);
            let entries: usize = ini.sections.iter().map(|section| section.entries.len()).sum();
            prop_assert!(entries + ini.sections.len() + ini.strays.len() <= text.lines().count());
        }

        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec(("[A-Za-z]{1,8}", "[!-~&&[^\"']]([ -~&&[^\"']]{0,20}[!-~&&[^\"']])?"), 0..8)) {
            let lines: String = pairs.iter().map(|(key, value)| format!("{key}={value}\r\n")).collect();
            let ini = parse(&format!("[section]\n{lines}"));
            let read: Vec<_> = ini.sections[0].entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
