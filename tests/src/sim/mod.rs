//! A world without I/O, clock or chance: the engines of three services on a simulated broker, in
//! which everything goes wrong that can, at moments that a seed chooses.
//!
//! A seed is lived twice with the same [`workload`]: in a calm [`world`] and in a rough one. In
//! the end both must have decided the same, byte for byte; [`check`] says what else must hold.

pub mod broker;
pub mod calls;
pub mod check;
pub mod clients;
pub mod instance;
pub mod net;
pub mod twin;
pub mod workload;
pub mod world;
