//! Clients with tokens.

use whub_proto::{Body, Hello, Kind};
use whub_server::config::{Config, Grant, Secret, Token};

use crate::browser::{Answer, Browser};
use crate::common::{Client, Node};

/// A token whose secret is its name.
pub(crate) fn token(name: &str, grant: Grant) -> Token {
    Token { name: name.to_owned(), secret: Secret::new(name).unwrap(), grant }
}

/// Adds people: `ada` administers, `bob` and `eve` are on the night shift, `eve` may write to nobody.
pub(crate) fn people(config: &mut Config) {
    let all = Grant::all();
    let night = || vec!["night".to_owned()];
    config.tokens.push(token("ada", Grant { admin: true, ..all.clone() }));
    config.tokens.push(token("bob", Grant { groups: night(), ..all.clone() }));
    config.tokens.push(token("eve", Grant { groups: night(), message: Vec::new(), ..all }));
}

/// A client who says who it is, and what the hub calls it.
pub(crate) async fn join(node: &Node, token: &str, name: &str) -> (Client, String) {
    let mut client = node.stranger().await;
    client.say(0, &Body::Hello(Hello { token, name, ..Hello::default() })).await;
    let heard = client.hear().await;
    assert_eq!(heard.kind, Kind::Welcome, "{heard:?}");
    let Body::Welcome(welcome) = heard.frame().body else { panic!("{heard:?}") };
    let id = welcome.client.to_owned();
    (client, id)
}

/// An HTTP request with a token.
pub(crate) async fn ask(node: &Node, token: &str, head: &str, body: &str) -> Answer {
    let separator = if head.contains('\n') { "" } else { "\n" };
    let head = format!("{head}{separator}\nAuthorization: Bearer {token}");
    Browser::visit(node).await.ask(&head, body.as_bytes()).await
}

/// What an answer says in JSON.
pub(crate) fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}
