//! What a worker is told of topics costs it no credit; it must read it.

use std::rc::Rc;
use std::sync::Arc;

use link::{Closed, Link, Traffic, Worker};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, LocalSet};

const MIB: usize = 1 << 20;

/// A link, its driver, and the worker's end of it.
fn open() -> (Rc<Link>, JoinHandle<Closed>, UnixStream) {
    let (front, worker) = std::os::unix::net::UnixStream::pair().unwrap();
    front.set_nonblocking(true).unwrap();
    worker.set_nonblocking(true).unwrap();
    let link = Link::new(Worker::new(1, "app".into(), "app#1".into()), front, Rc::new(Traffic::default())).unwrap();
    let driver = tokio::task::spawn_local(link.clone().run());
    (link, driver, UnixStream::from_std(worker).unwrap())
}

fn tell(link: &Link, mib: usize) {
    for _ in 0..mib {
        link.send_unpaid(|out| out.resize(out.len() + MIB, 0));
    }
}

#[tokio::test]
async fn a_worker_that_leaves_it_lying_has_broken_the_protocol() {
    let test = async {
        let (link, driver, _worker) = open();
        tell(&link, 63);
        tokio::task::yield_now().await;
        assert!(!driver.is_finished());
        tell(&link, 200);
        let Closed::Protocol(why) = driver.await.unwrap() else { panic!("the link ended otherwise") };
        assert!(why.contains("64 MiB"), "{why}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn one_that_reads_is_told_as_much_as_there_is() {
    let test = async {
        let (link, driver, mut worker) = open();
        let mut chunk = vec![0; 35 * MIB];
        for _ in 0..2 {
            tell(&link, 35);
            // What credit has paid for does not count.
            link.send_held(|out| out.resize(out.len() + 35 * MIB, 0), Arc::new(()));
            worker.read_exact(&mut chunk).await.unwrap();
            worker.read_exact(&mut chunk).await.unwrap();
        }
        assert!(!driver.is_finished());
        drop(worker);
        assert_eq!(driver.await.unwrap(), Closed::Eof);
    };
    LocalSet::new().run_until(test).await;
}
