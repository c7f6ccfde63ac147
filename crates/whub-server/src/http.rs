//! HTTP on the hub's port.

use std::sync::Arc;

use whub_transport::Opened;

use crate::node::Node;

pub(crate) async fn serve(_node: Arc<Node>, _opened: Opened) {}
