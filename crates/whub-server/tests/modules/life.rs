//! Modules are initialised after those that they need, and stopped before them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use whub_server::{
    LocalService, Module, ModuleError, Server, ServerBuilder, Setup, StartError, config::Config,
};

use crate::browser::Browser;
use crate::common::Node;

type Diary = Arc<Mutex<Vec<String>>>;

fn note(diary: &Diary, name: &str, what: &str) {
    diary.lock().unwrap().push(format!("{name} {what}"));
}

/// Writes down its life.
struct Ground(Diary);

/// Needs `Ground`.
struct Roof(Diary, bool);

impl Module for Ground {
    fn name(&self) -> &'static str {
        "ground"
    }

    fn init(&mut self, _: &mut Setup<'_>) -> Result<(), ModuleError> {
        note(&self.0, "ground", "init");
        Ok(())
    }

    async fn start(&self) -> Result<(), ModuleError> {
        note(&self.0, "ground", "start");
        Ok(())
    }

    async fn drain(&self, _: Duration) {
        note(&self.0, "ground", "drain");
    }

    async fn stop(&self) {
        note(&self.0, "ground", "stop");
    }
}

impl Module for Roof {
    fn name(&self) -> &'static str {
        "roof"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let ground = setup.module::<Ground>()?;
        note(&ground.0, "roof", "init");
        setup.service(LocalService::new("/roof", |_| async { "dry" })?);
        Ok(())
    }

    async fn start(&self) -> Result<(), ModuleError> {
        if self.1 {
            return Err("it rains".into());
        }
        note(&self.0, "roof", "start");
        Ok(())
    }

    async fn stop(&self) {
        note(&self.0, "roof", "stop");
    }
}

/// Two that need each other.
struct Hen;
struct Egg;

impl Module for Hen {
    fn name(&self) -> &'static str {
        "hen"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        setup.module::<Egg>()?;
        Ok(())
    }
}

impl Module for Egg {
    fn name(&self) -> &'static str {
        "egg"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        setup.module::<Hen>()?;
        Ok(())
    }
}

pub(crate) async fn refusal(build: impl FnOnce(ServerBuilder) -> ServerBuilder) -> String {
    let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    let error: StartError = build(Server::builder(config)).build().await.expect_err("it cannot start");
    error.to_string()
}

#[tokio::test]
async fn who_is_needed_comes_first_and_goes_last() {
    let diary = Diary::default();
    let (roof, ground) = (Roof(Arc::clone(&diary), false), Ground(Arc::clone(&diary)));
    let mut node = Node::built(|_| {}, |builder| builder.module(roof).module(ground)).await;
    assert_eq!(Browser::visit(&node).await.ask("GET /roof", b"").await.text(), "dry");
    node.stop();
    (&mut node.running).await.unwrap();
    let life = diary.lock().unwrap().join(", ");
    let expected = "ground init, roof init, ground start, roof start, ground drain, roof stop, ground stop";
    assert_eq!(life, expected);
}

#[tokio::test]
async fn a_module_that_cannot_start_is_named_and_the_others_are_stopped() {
    let diary = Diary::default();
    let (roof, ground) = (Roof(Arc::clone(&diary), true), Ground(Arc::clone(&diary)));
    assert_eq!(refusal(|builder| builder.module(roof).module(ground)).await, "module `roof`: it rains");
    assert_eq!(diary.lock().unwrap().last().unwrap(), "ground stop");
}

#[tokio::test]
async fn missing_modules_circles_and_doubles_are_named() {
    let roof = Roof(Diary::default(), false);
    let missing = refusal(|builder| builder.module(roof)).await;
    assert!(missing.contains("`roof`") && missing.contains("Ground"), "{missing}");
    let circle = refusal(|builder| builder.module(Hen).module(Egg)).await;
    assert!(circle.contains("`hen`") && circle.contains("`egg`"), "{circle}");
    assert!(circle.contains("hen → egg → hen"), "{circle}");
    let alone =
        refusal(|builder| builder.module(Ground(Diary::default())).module(Ground(Diary::default()))).await;
    assert!(alone.contains("`ground`") && alone.contains("twice"), "{alone}");
}

#[tokio::test]
async fn what_two_modules_provide_is_a_conflict_that_names_the_second() {
    struct Again;
    impl Module for Again {
        fn name(&self) -> &'static str {
            "again"
        }

        fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
            setup.service(LocalService::new("/x/:a", |_| async { "" })?);
            setup.service(LocalService::new("/x/:b", |_| async { "" })?);
            Ok(())
        }
    }
    let conflict = refusal(|builder| builder.module(Again)).await;
    assert!(conflict.contains("`again`") && conflict.contains("/x/:b"), "{conflict}");
    assert!(LocalService::new("/v1/mine", |_| async { "" }).is_err(), "HTTP paths of the hub stay its own");
    assert!(
        LocalService::new("/status/mine", |_| async { "" }).is_ok(),
        "modules may extend the hub's services"
    );
}
