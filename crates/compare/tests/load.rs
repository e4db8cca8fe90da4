//! The load generator against servers whose answers and delays are known. Delays are the servers' defined behaviour, so they bound
//! latencies from below whatever the machine does; nothing here asserts that something was fast.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use compare::Cancel;
use compare::load::connection::Request;
use compare::load::{Measured, Trial, run};
use compare::requests::Plain;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Serves each connection on a thread; `answer` gets the request's number and what to write to.
fn serve(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (answer, count) = (answer.clone(), count.clone());
            std::thread::spawn(move || {
                let (mut pending, mut chunk) = (Vec::new(), [0; 1024]);
                while let Ok(read @ 1..) = stream.read(&mut chunk) {
                    pending.extend_from_slice(&chunk[..read]);
                    while let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                        pending.drain(..end + 4);
                        answer(count.fetch_add(1, Ordering::Relaxed), &mut stream);
                    }
                }
            });
        }
    });
    address
}

fn get() -> Vec<Request> {
    let plain = Plain { method: "GET".to_owned(), target: "/".to_owned(), ..Plain::default() };
    vec![plain.to_request().unwrap()]
}

fn trial(rate: Option<f64>, seconds: f64) -> Trial {
    Trial { rate, seconds, connections_max: 64, timeout: Duration::from_secs(20), seed: 1 }
}

fn measure(address: SocketAddr, trial: Trial) -> Measured {
    run(address, &get(), &trial, &Cancel::default()).unwrap()
}

fn write(stream: &mut TcpStream, bytes: &[u8]) {
    // A client that has gone is the test's own business.
    let _ = stream.write_all(bytes);
}

#[test]
fn every_framing_of_a_response_is_read() {
    let address = serve(|number, stream| {
        write(
            stream,
            match number % 4 {
                0 => b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".as_slice(),
                1 => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\ntrailer: t\r\n\r\n",
                2 => b"HTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            },
        );
    });
    let measured = measure(address, trial(Some(200.0), 0.5));
    assert!(measured.sent > 20 && measured.failures.is_empty(), "{measured:?}");
    assert_eq!(measured.statuses.keys().copied().collect::<Vec<_>>(), [200, 204, 404]);
    assert_eq!(measured.good, measured.sent);
}

#[test]
fn failures_are_counted_and_never_taken_for_answers() {
    let address = serve(|number, stream| match number % 3 {
        0 => write(stream, OK),
        1 => write(stream, b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"),
        _ => {
            write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
    let measured = measure(address, trial(Some(300.0), 0.5));
    let broken: u64 = measured.failures.values().sum();
    assert!(broken > 0 && measured.statuses[&500] > 0, "{measured:?}");
    assert_eq!(measured.good + measured.statuses[&500] + broken, measured.sent);
    assert_eq!(measured.latency.len(), measured.sent, "what failed counts among the latencies, too");
}

/// A server that stands still for a second: a closed loop would send nothing meanwhile and see one slow answer.
#[test]
fn a_stall_is_seen_by_all_requests_that_were_meant_for_it() {
    let began = Instant::now();
    let stall = move || {
        let (from, now) = (Duration::from_millis(500), began.elapsed());
        if now > from && now < from + Duration::from_secs(1) {
            std::thread::sleep(from + Duration::from_secs(1) - now);
        }
    };
    let address = serve(move |_, stream| {
        stall();
        write(stream, OK);
    });
    let measured = measure(address, trial(Some(100.0), 2.0));
    // Of 2 s of arrivals, those of the first half of the stall wait for more than 0.5 s: about a quarter.
    assert!(measured.at(0.85) > 0.4, "p85 {}", measured.at(0.85));
    assert_eq!(measured.good, measured.sent);
}

#[test]
fn one_connection_makes_requests_wait_in_line_and_the_wait_counts() {
    let address = serve(|_, stream| {
        std::thread::sleep(Duration::from_millis(20));
        write(stream, OK);
    });
    let measured = measure(address, Trial { connections_max: 1, ..trial(Some(100.0), 1.0) });
    // 50 a second can be answered and 100 arrive: after a second the line is a second long.
    assert!(measured.at(0.9) > 0.4, "p90 {}", measured.at(0.9));
}

#[test]
fn known_delays_are_recovered() {
    let slow = |millis| {
        serve(move |_, stream| {
            std::thread::sleep(Duration::from_millis(millis));
            write(stream, OK)
        })
    };
    let at = |address| measure(address, trial(Some(50.0), 1.0)).at(0.5);
    let (fast, slow) = (at(slow(20)), at(slow(200)));
    assert!(fast >= 0.02 && slow >= 0.2, "{fast} {slow}");
    // On a busy machine both are late; a tenth of a second is generous.
    assert!(slow / fast > 1.7, "{fast} {slow}");
}

#[test]
fn a_tail_of_one_in_fifty_shows_at_p99_alone() {
    let address = serve(|number, stream| {
        std::thread::sleep(Duration::from_millis(if number % 50 == 0 { 400 } else { 1 }));
        write(stream, OK);
    });
    let measured = measure(address, trial(Some(200.0), 2.0));
    assert!(measured.at(0.99) >= 0.4 && measured.at(0.5) < 0.4, "{} {}", measured.at(0.5), measured.at(0.99));
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let address = serve(|_, _| std::thread::sleep(Duration::from_secs(60)));
    let measured = measure(address, Trial { timeout: Duration::from_millis(300), ..trial(Some(20.0), 0.3) });
    assert!(measured.sent > 0 && measured.good == 0, "{measured:?}");
    assert_eq!(measured.failures.keys().collect::<Vec<_>>(), ["no answer in time"]);
}

#[test]
fn nobody_there_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(address, &get(), &trial(Some(10.0), 0.1), &Cancel::default()).unwrap_err();
    assert!(error.contains("no connection to"), "{error}");
}

#[test]
fn a_closed_loop_keeps_its_connections_busy() {
    let address = serve(|_, stream| {
        std::thread::sleep(Duration::from_millis(10));
        write(stream, OK);
    });
    let measured = measure(address, Trial { connections_max: 4, ..trial(None, 0.5) });
    // Four connections with 10 ms each cannot do more than 400 a second.
    assert!(measured.throughput() <= 410.0 && measured.good == measured.sent, "{}", measured.throughput());
}

#[test]
fn the_generator_knows_its_own_ceiling_and_floor() {
    match compare::load::null::calibrate(0.1, 1, &Cancel::default()) {
        Ok(ceiling) => {
            assert!(ceiling.rate >= 1_000.0 && ceiling.floor_seconds > 0.0 && ceiling.floor_seconds < 5.0, "{ceiling:?}")
        }
        // On a machine that is busy with other things that is the right answer.
        Err(why) => assert!(why.contains("too busy to measure on"), "{why}"),
    }
}
