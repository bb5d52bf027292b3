import Glibc

extension CommandLineTool {
  /// The process's `main`: runs the command on Swift's own threads while this one waits for signals.
  ///
  /// Ctrl-C cancels the command, which then says what goes on without it; a second one, or two seconds, end the process.
  public static func main() -> Never {
    // A reader that goes away must end a write with EPIPE, on sockets as on pipes, not kill a command half way.
    signal(SIGPIPE, SIG_IGN)
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGINT)
    sigaddset(&signals, SIGTERM)
    // Before any other thread exists: all of them inherit the mask, so only the wait below sees these signals.
    pthread_sigmask(SIG_BLOCK, &signals, nil)

    let arguments = Array(CommandLine.arguments.dropFirst())
    let command = Task.detached {
      let status = await run(arguments, in: .ofProcess())
      end(status)
    }
    var received: Int32 = 0
    sigwait(&signals, &received)
    command.cancel()
    var grace = timespec(tv_sec: 2, tv_nsec: 0)
    sigtimedwait(&signals, nil, &grace)
    _exit(128 + received)
  }

  private static func end(_ status: CommandStatus) -> Never {
    if status == .outputClosed {
      // End as other filters do, so that the shell sees the usual cause.
      signal(SIGPIPE, SIG_DFL)
      raise(SIGPIPE)
    }
    // Other threads still run; the destructors of `exit` would pull the ground from under them.
    _exit(status.rawValue)
  }
}
