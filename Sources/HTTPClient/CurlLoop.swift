import CCurl
import Execution
import Glibc
import Logging

/// One libcurl multi handle on one thread: all transfers of a client.
///
/// Invariants: everything but `inbox` is touched by the loop's thread only (`run()` is its only entry after `init`), which
/// is why the class may be `@unchecked Sendable`. The multi handle is woken only under the inbox's lock and only while it
/// is open, so it is never used after it was freed. A transfer in `active` keeps its easy handle until it is taken out.
final class CurlLoop: @unchecked Sendable {
  enum Command: Sendable {
    case start(Transfer)
    case cancel(Transfer)
    case resume(Transfer)
  }

  private struct Inbox {
    var commands: [Command] = []
    var open = true
  }

  let configuration: HTTPClientConfiguration
  let logger: Logger
  private let inbox = Lock(Inbox())
  private let multi: UnsafeMutableRawPointer?
  private var active: [UnsafeMutableRawPointer: ActiveTransfer] = [:]
  private var handles: [ObjectIdentifier: UnsafeMutableRawPointer] = [:]
  /// Easy handles that wait for their next use; they keep allocations, the multi handle keeps the connections.
  private var idle: [UnsafeMutableRawPointer] = []
  private static let idleLimit = 32

  /// libcurl's process-wide state; made once, kept for the life of the process.
  private static let globalState: CURLcode = curl_global_init(aloft_curl_global_default())

  init(configuration: HTTPClientConfiguration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    multi = Self.globalState == CURLE_OK ? curl_multi_init() : nil
    if let multi {
      _ = aloft_curl_multi_set_long(
        multi, CURLMOPT_MAX_HOST_CONNECTIONS, max(1, configuration.maxConnectionsPerHost))
      _ = aloft_curl_multi_set_long(
        multi, CURLMOPT_MAXCONNECTS, max(64, configuration.maxConnectionsPerHost * 2))
    }
  }

  /// Gives the loop something to do. After ``stop()`` a start ends with `closed`.
  func post(_ command: Command) {
    let accepted = inbox.withLock { inbox in
      guard inbox.open, let multi else { return false }
      inbox.commands.append(command)
      if inbox.commands.count == 1 { curl_multi_wakeup(multi) }
      return true
    }
    if !accepted, case .start(let transfer) = command {
      transfer.finish(.failure(transfer.error(multi == nil ? .resources : .closed)))
    }
  }

  /// Ends all transfers with `closed` and the thread after them.
  func stop() {
    inbox.withLock { inbox in
      guard inbox.open else { return }
      inbox.open = false
      if let multi { curl_multi_wakeup(multi) }
    }
  }

  /// Runs until ``stop()``; the whole life of the loop's thread.
  func run() {
    guard let multi else { return }
    // CURLOPT_NOSIGNAL keeps libcurl from ignoring SIGPIPE around OpenSSL's writes: a broken TLS connection would
    // otherwise kill the process.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &signals, nil)

    while true {
      let (commands, open) = inbox.withLock { inbox -> ([Command], Bool) in
        defer { inbox.commands = [] }
        return (inbox.commands, inbox.open)
      }
      for command in commands { apply(command, on: multi) }
      guard open else { break }
      var running: Int32 = 0
      curl_multi_perform(multi, &running)
      reapFinished(on: multi)
      let pause = endOverdue(on: multi)
      // The wakeup of a command that came in between is level triggered: poll then returns at once.
      curl_multi_poll(multi, nil, 0, pause, nil)
    }
    for easy in Array(active.keys) {
      guard let entry = remove(easy, from: multi) else { continue }
      entry.transfer.finish(.failure(entry.transfer.error(.closed)))
    }
    for easy in idle { curl_easy_cleanup(easy) }
    idle = []
    curl_multi_cleanup(multi)
  }

  private func apply(_ command: Command, on multi: UnsafeMutableRawPointer) {
    switch command {
    case .start(let transfer): start(transfer, on: multi)
    case .cancel(let transfer):
      if let easy = handles[ObjectIdentifier(transfer)] { _ = remove(easy, from: multi) }
    case .resume(let transfer):
      // Both directions: the one that still has to wait pauses itself again in its callback.
      guard let easy = handles[ObjectIdentifier(transfer)] else { return }
      active[easy]?.resumes()
      curl_easy_pause(easy, CURLPAUSE_CONT)
    }
  }

  private func start(_ transfer: Transfer, on multi: UnsafeMutableRawPointer) {
    guard !transfer.isOver else { return }
    guard let easy = idle.popLast() ?? curl_easy_init() else {
      transfer.finish(.failure(transfer.error(.resources)))
      return
    }
    let entry = ActiveTransfer(easy: easy, transfer: transfer)
    let code = entry.configure(configuration)
    guard code == CURLE_OK else {
      let error = transfer.error(.invalidRequest, String(cString: curl_easy_strerror(code)))
      recycle(easy, reusable: false)
      transfer.finish(.failure(error))
      return
    }
    guard curl_multi_add_handle(multi, easy) == CURLM_OK else {
      recycle(easy, reusable: false)
      transfer.finish(.failure(transfer.error(.resources)))
      return
    }
    active[easy] = entry
    handles[ObjectIdentifier(transfer)] = easy
    if case .pipe(let pipe) = transfer.plan.body.source {
      pipe.onReadable { [weak self, weak transfer] in
        if let self, let transfer { self.post(.resume(transfer)) }
      }
    }
  }

  private func reapFinished(on multi: UnsafeMutableRawPointer) {
    var code = CURLE_OK
    while let easy = aloft_curl_next_finished(multi, &code) {
      guard let entry = active[easy] else { continue }
      let outcome = entry.outcome(of: code)
      log(entry, outcome)
      _ = remove(easy, from: multi, reusable: code == CURLE_OK)
      entry.transfer.finish(outcome)
    }
  }

  /// Ends the transfers whose time is up; returns how many milliseconds the next one has left, at most a minute.
  private func endOverdue(on multi: UnsafeMutableRawPointer) -> Int32 {
    let now = ContinuousClock.now
    var next = Duration.seconds(60)
    for (easy, entry) in active {
      guard let limit = entry.timeLimit else { continue }
      if limit.end > now {
        next = min(next, limit.end - now)
        continue
      }
      _ = remove(easy, from: multi)
      let outcome = Result<Void, HTTPClientError>.failure(entry.transfer.error(.timeout, limit.reason))
      log(entry, outcome)
      entry.transfer.finish(outcome)
    }
    return Int32(next.wholeMilliseconds)
  }

  private func remove(
    _ easy: UnsafeMutableRawPointer, from multi: UnsafeMutableRawPointer, reusable: Bool = false
  ) -> ActiveTransfer? {
    curl_multi_remove_handle(multi, easy)
    guard let entry = active.removeValue(forKey: easy) else { return nil }
    handles[ObjectIdentifier(entry.transfer)] = nil
    recycle(easy, reusable: reusable)
    return entry
  }

  /// Keeps the handle of a transfer that ended well; what a broken one left in its handle is not worth knowing.
  private func recycle(_ easy: UnsafeMutableRawPointer, reusable: Bool) {
    guard reusable, idle.count < Self.idleLimit else {
      curl_easy_cleanup(easy)
      return
    }
    curl_easy_reset(easy)
    idle.append(easy)
  }

  private func log(_ entry: ActiveTransfer, _ outcome: Result<Void, HTTPClientError>) {
    let plan = entry.transfer.plan
    switch outcome {
    case .success:
      logger.trace(
        "request done",
        metadata: ["method": "\(plan.request.method.rawValue)", "origin": "\(plan.origin)"])
    case .failure(let error):
      logger.debug(
        "request failed",
        metadata: ["method": "\(plan.request.method.rawValue)", "error": "\(error)"])
    }
  }
}

/// Whose last reference stops the loop: the client's and those of its transfers, but not the thread's own.
final class LoopOwner: Sendable {
  let loop: CurlLoop

  init(configuration: HTTPClientConfiguration, logger: Logger) {
    let loop = CurlLoop(configuration: configuration, logger: logger)
    self.loop = loop
    let thread = DedicatedThread(name: "http-client")
    Task { await thread.run { loop.run() } }
  }

  deinit { loop.stop() }
}
