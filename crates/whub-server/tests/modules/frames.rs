//! Frames of applications' own kinds go to the modules that handle them.

use std::future::pending;

use whub_core::Fault;
use whub_proto::{Body, Code, Flags, Kind};
use whub_server::{Module, ModuleError, OwnReply, Setup};

use crate::common::Node;

/// Handles three kinds.
struct Kinds;

impl Module for Kinds {
    fn name(&self) -> &'static str {
        "kinds"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        setup.handler(128, |frame| async move {
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            if text == "panic" {
                panic!("as the test wants");
            }
            if text == "no" {
                return Err(Fault::fatal(Code::Conflict, "kinds.no", "no"));
            }
            Ok(OwnReply::text(130, format!("{text} from {}", frame.user)))
        });
        setup.handler(129, |_| async {});
        setup.handler(191, |_| pending::<OwnReply>());
        Ok(())
    }
}

#[tokio::test]
async fn each_frame_gets_the_answer_of_its_handler() {
    let node = Node::built(
        |config| config.limits.call_timeout = std::time::Duration::from_millis(20),
        |builder| builder.module(Kinds),
    )
    .await;
    let mut client = node.client().await;
    client.send(1, Flags::NONE, &Body::Unknown(128), b"hello").await;
    let heard = client.hear().await;
    assert_eq!((heard.kind, heard.id, &*heard.payload), (Kind::Unknown(130), 1, &b"hello from "[..]));
    client.send(1, Flags::NONE, &Body::Unknown(129), b"").await;
    assert_eq!((client.hear().await.kind, 1), (Kind::Ok, 1));
    for (kind, payload, code) in [
        (128, &b"no"[..], Code::Conflict),
        (128, b"panic", Code::Internal),
        (191, b"", Code::DeadlineExceeded),
        (190, b"", Code::Unsupported),
    ] {
        client.send(3, Flags::NONE, &Body::Unknown(kind), payload).await;
        let heard = client.hear().await;
        let Body::Error(failure) = heard.frame().body else { panic!("{heard:?}") };
        assert_eq!((heard.id, failure.code), (3, code));
    }
    // Without an id there is no answer: the next is that of the next frame.
    client.send(0, Flags::NONE, &Body::Unknown(128), b"no").await;
    client.send(5, Flags::NONE, &Body::Unknown(129), b"").await;
    assert_eq!(client.hear().await.id, 5);
}

#[tokio::test]
async fn a_kind_of_the_hubs_cannot_be_taken() {
    struct Thief;
    impl Module for Thief {
        fn name(&self) -> &'static str {
            "thief"
        }

        fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
            setup.handler(18, |_| async {});
            Ok(())
        }
    }
    let refusal = crate::life::refusal(|builder| builder.module(Thief)).await;
    assert!(refusal.contains("`thief`") && refusal.contains("128 to 191"), "{refusal}");
}
