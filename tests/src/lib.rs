//! What the tests stand on: a real nats-server for each test ([`nats_server`]), and a world
//! without I/O, clock or chance in which the engine's promises are tried ([`sim`]).

pub mod deployment;
pub mod docker;
pub mod files;
pub mod linkage;
pub mod nats_server;
pub mod page;
pub mod sim;
pub mod tools;
pub mod users;
