//! `/message`: messages to clients, with an outcome for each recipient.
//!
//! A message reaches a session as a `Message` on the hub's own channel `$inbox`, which needs no subscription. It is
//! delivered as published messages are: what a slow session has no room for is dropped and announced to it by a `Gap`.

mod delivery;
mod request;

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use whub_core::{Client, Fault};

use crate::local::{LocalAnswer, LocalCaller, LocalRequest, LocalService};
use crate::modules::builtin::routing::wrong_method;
use crate::modules::builtin::rule::admit;
use crate::modules::{ClientManager, Module, ModuleError, Setup};
use crate::node::Node;

pub use delivery::{Reached, Receipt};
pub use request::ClientMessage;

use delivery::Delivery;
use request::Recipients;

/// Sends messages to clients, and provides `/message`.
#[derive(Debug, Default)]
pub struct Messaging {
    post: OnceLock<Post>,
}

#[derive(Debug, Clone)]
struct Post {
    node: Arc<Node>,
    clients: Arc<ClientManager>,
}

impl Messaging {
    /// Sends to everybody whom the addresses stand for: client names, users, groups (`@ops`). A session gets the
    /// message once, by however many addresses it is meant.
    ///
    /// # Errors
    /// `TooLarge` for what does not fit into a frame; `Unavailable` before the module was initialised.
    pub async fn send(
        &self,
        from: &LocalCaller,
        to: &[String],
        message: &ClientMessage,
    ) -> Result<Vec<Receipt>, Fault> {
        self.post()?.send(from, to, message, |_, _| true).await
    }

    /// Sends to every session.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn broadcast(
        &self,
        from: &LocalCaller,
        message: &ClientMessage,
    ) -> Result<Vec<Receipt>, Fault> {
        self.post()?.broadcast(from, message).await
    }

    fn post(&self) -> Result<&Post, Fault> {
        self.post.get().ok_or_else(Fault::draining)
    }
}

impl Module for Messaging {
    fn name(&self) -> &'static str {
        "messaging"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let post = Post { node: Arc::clone(setup.node()), clients: setup.module()? };
        self.post = OnceLock::from(post.clone());
        let sender = post.clone();
        let send = LocalService::new(SEND, move |request| sender.clone().handle_send(request))?;
        setup.service(send.pass_headers(&["x-to"]));
        setup.service(LocalService::new(BROADCAST, move |request| post.clone().handle_broadcast(request))?);
        Ok(())
    }
}

const SEND: &str = "/message/send";
const BROADCAST: &str = "/message/broadcast";

impl Post {
    async fn handle_send(self, mut request: LocalRequest) -> Result<LocalAnswer, Fault> {
        if !is_post(&request) {
            return Ok(wrong_method(SEND, "POST"));
        }
        let grants = admit(&self.node, self.node.config().builtin.message, &request.caller)?.grants;
        let (to, message) = request::read(&mut request, self.bytes_max()).await?;
        let Recipients(to) = to;
        let is_allowed = |address: &str, client: Option<&Client>| {
            let user = client.and_then(|client| client.identity.user.as_deref());
            grants.may_message(address) || user.is_some_and(|user| grants.may_message(user))
        };
        let receipts = self.send(&request.caller, &to, &message, is_allowed).await?;
        Ok(answer(&receipts))
    }

    async fn handle_broadcast(self, mut request: LocalRequest) -> Result<LocalAnswer, Fault> {
        if !is_post(&request) {
            return Ok(wrong_method(BROADCAST, "POST"));
        }
        let grants = admit(&self.node, self.node.config().builtin.message, &request.caller)?.grants;
        if !grants.may_broadcast() {
            self.node.hub.counters.forbidden.one();
            let reason = "this client may not send to everybody; ask for a token with message = [\"#\"]";
            return Err(Fault::fatal(whub_proto::Code::Forbidden, "access.forbidden", reason));
        }
        let message = request::read_broadcast(&mut request, self.bytes_max()).await?;
        let receipts = self.broadcast(&request.caller, &message).await?;
        Ok(answer(&receipts))
    }

    async fn send(
        &self,
        from: &LocalCaller,
        to: &[String],
        message: &ClientMessage,
        is_allowed: impl Fn(&str, Option<&Client>) -> bool,
    ) -> Result<Vec<Receipt>, Fault> {
        let mut delivery = Delivery::new(&self.node, from, message)?;
        for address in to {
            let clients = self.clients.find(address);
            let is_empty = clients.is_empty();
            let mut refused = !is_allowed(address, None) && is_empty;
            for client in clients {
                if is_allowed(address, Some(&client)) {
                    delivery.send(address, &client).await;
                } else {
                    refused = true;
                }
            }
            // Once, however many it would have reached: who may not send learns nothing of who is here.
            if refused {
                delivery.note(address, None, Reached::Forbidden);
            } else if is_empty {
                delivery.note(address, None, Reached::NotFound);
            }
        }
        Ok(delivery.finish())
    }

    async fn broadcast(&self, from: &LocalCaller, message: &ClientMessage) -> Result<Vec<Receipt>, Fault> {
        let mut delivery = Delivery::new(&self.node, from, message)?;
        for client in self.clients.list() {
            delivery.send(&client.client, &client).await;
        }
        Ok(delivery.finish())
    }

    /// What a message may have, with what its frame needs beside it.
    fn bytes_max(&self) -> usize {
        const AROUND_BYTES: usize = 4096;
        self.node.hub.limits.frame_bytes.saturating_sub(AROUND_BYTES)
    }
}

fn is_post(request: &LocalRequest) -> bool {
    matches!(request.method.as_str(), "" | "POST")
}

fn answer(receipts: &[Receipt]) -> LocalAnswer {
    let mut answer = json!({ "outcomes": receipts.iter().map(shown).collect::<Vec<_>>() });
    for reached in Reached::ALL {
        let count = receipts.iter().filter(|receipt| receipt.reached == reached).count();
        answer[reached.name()] = count.into();
    }
    LocalAnswer::json(&answer)
}

fn shown(receipt: &Receipt) -> Value {
    json!({ "to": receipt.to, "client": receipt.client, "outcome": receipt.reached.name() })
}
