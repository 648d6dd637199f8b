//! What the tests of a program that speaks CometD need.

pub mod sim;
