//! How each peer is started: its configuration comes from `bench/peers/`, with the ports of this run.

use std::fs;
use std::path::PathBuf;

use super::{Server, free_port, pinned};
use crate::fault::Fault;

/// nats-server with a WebSocket listener; the address is that listener's.
pub(crate) fn nats(name: &str, core: Option<usize>) -> Result<Server, Fault> {
    let (websocket, plain) = (free_port()?, free_port()?);
    let text = include_str!("../../peers/nats.conf")
        .replace("@WEBSOCKET@", &websocket.to_string())
        .replace("@PLAIN@", &plain.to_string());
    let (folder, file) = configured(name, &text)?;
    let mut command = pinned(core, "nats-server");
    command.arg("-c").arg(file);
    Server::spawn(name, command, websocket, Some(folder))?.ready()
}

/// Mosquitto with a WebSocket listener.
pub(crate) fn mosquitto(core: Option<usize>) -> Result<Server, Fault> {
    let (addr, plain) = (free_port()?, free_port()?);
    let text = include_str!("../../peers/mosquitto.conf")
        .replace("@WEBSOCKET@", &addr.port().to_string())
        .replace("@PLAIN@", &plain.port().to_string());
    let (folder, file) = configured("mosquitto", &text)?;
    let mut command = pinned(core, "mosquitto");
    command.arg("-c").arg(file);
    Server::spawn("mosquitto", command, addr, Some(folder))?.ready()
}

/// nginx as reverse proxy in front of `stub`, with this many worker processes.
pub(crate) fn nginx(stub: Server, workers: usize, core: Option<usize>) -> Result<Server, Fault> {
    let addr = free_port()?;
    let text = include_str!("../../peers/nginx.conf")
        .replace("@WORKERS@", &workers.to_string())
        .replace("@LISTEN@", &addr.to_string())
        .replace("@UPSTREAM@", &stub.addr.to_string());
    let (folder, file) = configured("nginx", &text)?;
    let mut command = pinned(core, "nginx");
    command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(file);
    in_front(stub, Server::spawn("nginx", command, addr, Some(folder))?)
}

/// HAProxy as reverse proxy in front of `stub`.
pub(crate) fn haproxy(stub: Server, core: Option<usize>) -> Result<Server, Fault> {
    let addr = free_port()?;
    let text = include_str!("../../peers/haproxy.cfg")
        .replace("@LISTEN@", &addr.to_string())
        .replace("@UPSTREAM@", &stub.addr.to_string());
    let (folder, file) = configured("haproxy", &text)?;
    let mut command = pinned(core, "haproxy");
    command.arg("-db").arg("-f").arg(file);
    in_front(stub, Server::spawn("haproxy", command, addr, Some(folder))?)
}

fn in_front(stub: Server, proxy: Server) -> Result<Server, Fault> {
    let mut proxy = proxy.ready()?;
    proxy.behind = Some(Box::new(stub));
    Ok(proxy)
}

/// A folder of its own for a peer, and its configuration in it.
fn configured(name: &str, text: &str) -> Result<(PathBuf, PathBuf), Fault> {
    let folder = std::env::temp_dir().join(format!("whub-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Fault::io(format!("make {}", folder.display())))?;
    let file = folder.join("peer.conf");
    fs::write(&file, text).map_err(Fault::io(format!("write {}", file.display())))?;
    Ok((folder, file))
}
