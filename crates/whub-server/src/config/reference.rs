//! `docs/configuration.md`, made from the table of keys.

use super::{
    Config,
    endpoints::keys::{ENDPOINT_KEYS, EndpointDraft},
    keys::{KEYS, Key, SERVICE_KEYS, TOKEN_KEYS, is_service_default},
    layers::variable_of_key,
    tokens::TokenEntry,
};

/// The words around the tables.
const INTRODUCTION: &str = include_str!("reference.md");

/// The whole page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.trim_end().to_owned();
    page.push_str("\n\n## Keys\n");
    let mut section = None;
    for key in KEYS {
        let current = key.name.split_once('.').map(|(section, _)| section);
        if current != section || section.is_none() {
            page.push_str(&current.map_or_else(|| "\n".to_owned(), |name| format!("\n### `[{name}]`\n\n")));
            page.push_str("| key | type | default | what it does |\n|---|---|---|---|\n");
            section = current;
        }
        page.push_str(&row(key, &mut Config::default()));
    }
    page.push_str(
        "\n### `[[tokens]]`\n\nOne table per token; see [Access](#access). A reload re-reads them.\n\n",
    );
    page.push_str("| key | type | default | what it does |\n|---|---|---|---|\n");
    for key in TOKEN_KEYS {
        page.push_str(&row(key, &mut TokenEntry::default()));
    }
    page.push_str(
        "\n### `[[services]]`\n\nOne table per pattern; what a table leaves out is as `service_defaults` says. A reload \
         re-reads them.\n\n",
    );
    page.push_str("| key | type | default | what it does |\n|---|---|---|---|\n");
    for key in SERVICE_KEYS {
        let default = match key.name {
            "pattern" => "required",
            name if is_service_default(name) => "`service_defaults`",
            _ => "unset",
        };
        let bounds = key.field.bounds().map_or_else(String::new, |bounds| format!(", {bounds}"));
        let kind = key.field.kind();
        page.push_str(&format!("| `{}` | {kind}{bounds} | {default} | {} |\n", key.name, key.doc));
    }
    page.push_str(
        "\n### `[[endpoints]]`\n\nOne table per endpoint of the gateway; see [Endpoints](#endpoints). A reload re-reads \
         them.\n\n",
    );
    page.push_str("| key | type | default | what it does |\n|---|---|---|---|\n");
    for key in ENDPOINT_KEYS {
        page.push_str(&row(key, &mut EndpointDraft::default()));
    }
    page.push_str("\n## Environment variables\n\n| variable | key |\n|---|---|\n");
    for key in KEYS {
        page.push_str(&format!("| `{}` | `{}` |\n", variable_of_key(key.name), key.name));
    }
    page
}

fn row<T>(key: &Key<T>, defaults: &mut T) -> String {
    let default =
        key.default.map_or_else(|| "unset".to_owned(), |_| format!("`{}`", key.field.show(defaults)));
    let bounds = key.field.bounds().map_or_else(String::new, |bounds| format!(", {bounds}"));
    let reload = if key.reload { " ↻" } else { "" };
    format!("| `{}`{reload} | {}{bounds} | {default} | {} |\n", key.name, key.field.kind(), key.doc)
}
