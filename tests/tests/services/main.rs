//! The services on a real nats-server, each use from one end to the other. In one program, because
//! linking everything takes longer than most of these tests; what kills, or loads the machine, has a
//! program of its own beside this one.

mod bindings;
mod bodies;
mod broker_contract;
mod claims;
mod cli_nats;
mod conversations;
mod explain;
mod faces;
mod foreign_grpc;
mod identity;
mod ingress;
mod journey;
mod linkage;
mod media;
mod operations;
mod provision;
mod queue;
mod replay;
mod said;
mod trace;
mod unsend;
mod upstream;
mod watch;
