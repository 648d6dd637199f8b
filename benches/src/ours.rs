//! Our client, used as its users do: a task that awaits each message or call.

use std::time::Instant;

use bayeux::{Client, Event, TlsOptions};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::Fallible;
use crate::job::{Job, Measured, Task, Tick, Transport};
use crate::meter::{Meter, status_kib};

pub(crate) fn run(job: &Job) -> Fallible {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let job = job.clone();
    // In a task, as in most programs: what the runtime itself waits for is looked after in another way.
    let work = async move {
        match job.task {
            Task::Receive | Task::Typed | Task::Long => receive(&job).await,
            Task::Stream => stream(&job).await,
            Task::Publish => publish(&job).await,
            Task::Pipelined => pipelined(&job).await,
            Task::Request => request(&job).await,
            Task::Idle => idle(&job).await,
        }
    };
    runtime.block_on(async { tokio::spawn(work).await? })?.print()
}

fn client(job: &Job) -> Fallible<Client> {
    let transport = match job.transport {
        Transport::Websocket => bayeux::Transport::WebSocket,
        Transport::LongPolling => bayeux::Transport::LongPolling,
    };
    let mut builder = Client::builder(&job.url).transports([transport]).acknowledge(job.ack > 0);
    if let Some(ca) = &job.ca {
        builder = builder.tls(TlsOptions::new().ca_pem(&std::fs::read(ca)?)?);
    }
    Ok(builder.build()?)
}

/// Opens, subscribes, and starts the feed.
async fn listener(job: &Job) -> Fallible<Client> {
    let client = client(job)?;
    client.open().await?;
    let subscriptions = if job.task == Task::Receive { job.count } else { 1 };
    for n in 0..subscriptions {
        client.subscribe(format!("/feed/{n}/{}", crate::feed::last_segment(n))).await?;
    }
    client.publish(crate::feed::GO, &1).await?;
    Ok(client)
}

async fn receive(job: &Job) -> Fallible<Measured> {
    let client = listener(job).await?;
    let mut events = client.events();
    let mut meter = Meter::of(job);
    loop {
        let message = client.receive().await?;
        if job.task == Task::Typed {
            let tick: Tick = message.data().decode()?;
            std::hint::black_box((tick.n, tick.text));
        }
        if let Some(measured) = meter.message() {
            let mut dropped = 0;
            // Those so far: while they are waited for nothing is read, and there would be more and more.
            while let Some(Some(event)) = events.next().now_or_never() {
                if let Event::SlowConsumer { dropped: more, .. } = event {
                    dropped += more;
                }
            }
            return Ok(Measured { dropped: dropped as f64, ..measured });
        }
    }
}

async fn stream(job: &Job) -> Fallible<Measured> {
    let client = client(job)?;
    client.open().await?;
    let mut ticks = client.stream::<Tick>("/feed/**").await?;
    client.publish(crate::feed::GO, &1).await?;
    let mut meter = Meter::of(job);
    while let Some(tick) = ticks.next().await {
        let tick = tick?;
        std::hint::black_box((tick.n, tick.text));
        if let Some(measured) = meter.message() {
            return Ok(measured);
        }
    }
    Err("the stream ended".into())
}

async fn publish(job: &Job) -> Fallible<Measured> {
    let client = client(job)?;
    client.open().await?;
    let payload = job.payload();
    let mut meter = Meter::of(job);
    loop {
        let began = Instant::now();
        client.publish("/bench/publish", &payload).await?;
        if let Some(measured) = meter.call(began) {
            return Ok(measured);
        }
    }
}

async fn pipelined(job: &Job) -> Fallible<Measured> {
    let client = client(job)?;
    client.open().await?;
    let payload = job.payload();
    let mut meter = Meter::of(job);
    let publish = || client.publish("/bench/publish", &payload);
    let mut calls: FuturesUnordered<_> = (0..job.count).map(|_| publish()).collect();
    while let Some(reply) = calls.next().await {
        reply?;
        calls.push(publish());
        if let Some(measured) = meter.message() {
            return Ok(measured);
        }
    }
    Err("no call is left".into())
}

async fn request(job: &Job) -> Fallible<Measured> {
    let client = client(job)?;
    client.open().await?;
    let payload = job.payload();
    let mut meter = Meter::of(job);
    loop {
        let began = Instant::now();
        let answer: serde_json::Value = client.request("/service/echo", &payload).await?;
        std::hint::black_box(answer);
        if let Some(measured) = meter.call(began) {
            return Ok(measured);
        }
    }
}

async fn idle(job: &Job) -> Fallible<Measured> {
    const AT_ONCE: usize = 50;
    let before = status_kib("VmRSS");
    let open = async || -> Fallible<Client> {
        let client = client(job)?;
        client.open().await?;
        client.subscribe("/feed/**").await?;
        Ok(client)
    };
    let mut clients = Vec::with_capacity(job.count);
    let mut opening = futures_util::stream::iter((0..job.count).map(|_| open())).buffer_unordered(AT_ONCE);
    while let Some(client) = opening.next().await {
        clients.push(client?);
    }
    drop(opening);
    // What is done with is given back meanwhile.
    let cpu = crate::meter::cpu_time();
    tokio::time::sleep(job.time()).await;
    let connected = clients.iter().filter(|client| client.state() == bayeux::State::Connected).count();
    if connected < job.count {
        return Err(format!("only {connected} of {} clients are connected", job.count).into());
    }
    Ok(Measured {
        messages: job.count as f64,
        seconds: job.time().as_secs_f64(),
        cpu_seconds: (crate::meter::cpu_time() - cpu).as_secs_f64(),
        peak_kib: status_kib("VmHWM"),
        client_kib: (status_kib("VmRSS") - before) / job.count as f64,
        ..Measured::default()
    })
}
