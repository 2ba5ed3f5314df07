//! What one side says is what the other hears: both ends in one process.

use super::*;

#[test]
fn a_failure_arrives_as_it_was_sent() {
    let (runtime, init) = pair().unwrap();
    for (index, step) in Step::ALL.iter().copied().enumerate() {
        assert_eq!(step as usize, index, "{step:?} is out of order in Step::ALL");
        let failure = Failure::new(step, 777, Errno::NOSPC).concerning(888);
        init.tell_failed(failure).unwrap();
        assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Failed(heard)) if heard == failure));
    }
}

#[test]
fn the_end_of_the_other_side_is_noticed() {
    let (runtime, init) = pair().unwrap();
    drop(init);
    assert!(runtime.hear().unwrap().is_none());
    let (runtime, init) = pair().unwrap();
    drop(runtime);
    assert_eq!(init.expect(ToInit::Go), Err(Errno::PIPE));
    assert_eq!(init.tell_ready(), Err(Errno::PIPE));
}

#[test]
fn one_that_has_given_up_still_hears_what_the_other_says() {
    let (runtime, init) = pair().unwrap();
    runtime.tell(ToInit::Placed);
    runtime.give_up();
    assert_eq!(init.expect(ToInit::Placed), Ok(()));
    assert_eq!(init.expect(ToInit::Attended), Err(Errno::PIPE));
    init.tell_ready().unwrap();
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Ready)));
}

#[test]
fn last_words_are_heard_from_one_who_did_not_listen() {
    let (runtime, init) = pair().unwrap();
    runtime.tell(ToInit::Go);
    let failure = Failure::new(Step::Exec, 0, Errno::NOENT);
    init.tell_failed(failure).unwrap();
    drop(init);
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Failed(heard)) if heard == failure));
    assert!(runtime.hear().unwrap().is_none());
}

#[test]
fn a_descriptor_arrives_with_its_message() {
    let (runtime, init) = pair().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    runtime.hand_over(ToInit::Network, writer.as_fd());
    drop(writer);
    let received = init.expect_descriptor(ToInit::Network).unwrap();
    rustix::io::write(&received, b"x").unwrap();
    assert_eq!(rustix::io::read(&reader, &mut [0_u8; 1]), Ok(1));
    drop(runtime);
    assert_eq!(init.expect_descriptor(ToInit::Network).unwrap_err(), Errno::PIPE);
}

#[test]
fn a_terminal_arrives_before_the_word_that_all_is_ready() {
    let (runtime, init) = pair().unwrap();
    let (_reader, writer) = rustix::pipe::pipe().unwrap();
    init.hand_over_terminal(writer.as_fd()).unwrap();
    init.tell_ready().unwrap();
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Terminal(_))));
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Ready)));
}

#[test]
fn messages_arrive_in_order() {
    let (runtime, init) = pair().unwrap();
    runtime.tell(ToInit::Placed);
    runtime.tell(ToInit::Go);
    assert_eq!((init.expect(ToInit::Placed), init.expect(ToInit::Go)), (Ok(()), Ok(())));
    init.tell_ready().unwrap();
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Ready)));
}

#[test]
fn init_learns_its_pid() {
    let (runtime, init) = pair().unwrap();
    let pid = rustix::process::getpid();
    runtime.tell_pid(pid);
    assert_eq!(init.expect_pid(), Ok(pid));
    runtime.tell(ToInit::Placed);
    assert_eq!(init.expect_pid(), Err(Errno::PROTO));
    drop(runtime);
    assert_eq!(init.expect_pid(), Err(Errno::PIPE));
}

#[test]
fn silence_is_noticed_in_time() {
    let (runtime, init) = pair().unwrap();
    assert!(!runtime.has_word_by(Instant::now()));
    init.tell_listening().unwrap();
    assert!(runtime.has_word_by(Instant::now()));
    assert!(matches!(runtime.hear().unwrap(), Some(FromInit::Listening)));
    drop(init);
    assert!(runtime.has_word_by(Instant::now()));
}

#[test]
fn a_filesystem_is_mounted_for_init_or_it_hears_that_it_is_not() {
    let (runtime, init) = pair().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    runtime.hand_over(ToInit::Mounted, reader.as_fd());
    init.ask_for_mount(writer.as_fd(), MountAttr::NOSUID).unwrap();
    let Some(FromInit::Mount(_, attributes)) = runtime.hear().unwrap() else { panic!("no request") };
    assert_eq!(attributes, MountAttr::NOSUID);
    runtime.tell(ToInit::NotMounted);
    assert_eq!(init.ask_for_mount(writer.as_fd(), MountAttr::empty()).unwrap_err(), Errno::PERM);
}

#[test]
fn the_word_to_go_may_come_before_the_answer_to_a_request() {
    let (runtime, init) = pair().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    runtime.tell(ToInit::Go);
    runtime.hand_over(ToInit::Mounted, reader.as_fd());
    init.ask_for_mount(writer.as_fd(), MountAttr::empty()).unwrap();
    assert_eq!(init.expect(ToInit::Go), Ok(()));
}
