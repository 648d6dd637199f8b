//! `bayeux serve`

use bayeux_server::Server;

use crate::args::Serve;
use crate::demo::Demo;
use crate::failure::Failure;
use crate::session;

pub(crate) async fn run(options: &Serve) -> Result<(), Failure> {
    match options.verbose {
        0 => {}
        1 => session::log("bayeux_server=debug"),
        _ => session::log("bayeux_server=trace,hyper=debug"),
    }
    let demo = Demo::default();
    let builder = Server::builder().timeout(options.timeout).max_interval(options.max_interval);
    let server = demo.install(builder).build();
    tokio::spawn(demo.watch(server.clone()));
    let running = server.bind((options.host.as_str(), options.port)).await.map_err(|error| {
        Failure::Usage(format!("cannot listen at {}:{}: {error}", options.host, options.port))
    })?;
    println!("{}", running.url());
    anstream::eprintln!("CometD over WebSocket and long-polling, with the chat demo. ^C ends it.");
    session::interrupted().await;
    running.shutdown().await;
    Ok(())
}
