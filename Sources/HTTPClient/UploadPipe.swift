import Execution
import Glibc

/// The pipe between the task that makes a request body and the loop's thread that sends it; it holds at most about
/// 512 KiB, so the source runs no faster than the peer reads.
///
/// Invariants: one writer, one reader; after `closeReading` every write fails; `total` bytes are never exceeded.
final class UploadPipe: Sendable {
  enum Chunk {
    case bytes(Int)
    case wait, end, failed
  }

  struct Failure: Sendable {
    let kind: HTTPClientError.Kind
    let detail: String
  }

  private struct State {
    var queue: [UInt8] = []
    /// How much of `queue`'s front the reader has taken already.
    var taken = 0
    var written: Int64 = 0
    var ended = false
    var failure: Failure?
    var readerGone = false
    var readerWaits = false
    var writer: CheckedContinuation<Void, Never>?
    /// Unpauses the transfer; set when the transfer starts.
    var wakeReader: (@Sendable () -> Void)?

    var unread: Int { queue.count - taken }

    mutating func takeWriter() -> CheckedContinuation<Void, Never>? {
      defer { writer = nil }
      return writer
    }

    mutating func takeWake() -> (@Sendable () -> Void)? {
      guard readerWaits else { return nil }
      readerWaits = false
      return wakeReader
    }
  }

  private static let capacity = 512 << 10
  private let state = Lock(State())
  private let length: Int64?

  init(length: Int64?) { self.length = length }

  /// Says how the reader is woken after it was told to wait.
  func onReadable(_ wake: @escaping @Sendable () -> Void) {
    state.withLock { $0.wakeReader = wake }
  }

  var failure: Failure? { state.withLock { $0.failure } }

  // MARK: Writer

  /// Appends bytes when there is room. False: the transfer is over.
  func write(_ bytes: [UInt8]) async -> Bool {
    while true {
      await withCheckedContinuation { continuation in
        let goOn = state.withLock { state in
          if state.unread < Self.capacity || state.readerGone || state.failure != nil {
            return true
          }
          state.writer = continuation
          return false
        }
        if goOn { continuation.resume() }
      }
      let (done, wake) = state.withLock { state -> (Bool?, (@Sendable () -> Void)?) in
        if state.readerGone || state.failure != nil { return (false, nil) }
        guard state.unread < Self.capacity else { return (nil, nil) }
        state.written += Int64(bytes.count)
        if let length, state.written > length {
          state.failure = Failure(
            kind: .bodySource, detail: "it gave more than the \(length) bytes it was said to have")
          return (false, state.takeWake())
        }
        if state.taken > 0 {
          state.queue.removeSubrange(..<state.taken)
          state.taken = 0
        }
        state.queue.append(contentsOf: bytes)
        return (true, state.takeWake())
      }
      wake?()
      if let done { return done }
    }
  }

  func finishWriting() {
    let wake = state.withLock { state in
      state.ended = true
      if let length, state.written < length, state.failure == nil {
        state.failure = Failure(
          kind: .bodySource, detail: "it gave \(state.written) of \(length) bytes")
      }
      return state.takeWake()
    }
    wake?()
  }

  func fail(_ kind: HTTPClientError.Kind, _ detail: String) {
    let wake = state.withLock { state in
      if state.failure == nil { state.failure = Failure(kind: kind, detail: detail) }
      return state.takeWake()
    }
    wake?()
  }

  // MARK: Reader

  func read(into target: UnsafeMutableRawBufferPointer) -> Chunk {
    let (chunk, writer) = state.withLock { state -> (Chunk, CheckedContinuation<Void, Never>?) in
      if state.failure != nil { return (.failed, nil) }
      let count = min(target.count, state.unread)
      if count > 0 {
        state.queue.withUnsafeBytes { bytes in
          target.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[state.taken..<state.taken + count]))
        }
        state.taken += count
        return (.bytes(count), state.unread < Self.capacity ? state.takeWriter() : nil)
      }
      if state.ended { return (.end, nil) }
      state.readerWaits = true
      return (.wait, nil)
    }
    writer?.resume()
    return chunk
  }

  func closeReading() {
    let writer = state.withLock { state in
      state.readerGone = true
      state.queue = []
      state.taken = 0
      return state.takeWriter()
    }
    writer?.resume()
  }
}

/// Where a produced body (``HTTPClientBody/produced(length:by:)``) writes its bytes.
public struct HTTPClientBodyWriter: Sendable {
  let pipe: UploadPipe

  /// Sends bytes; returns when there is room for more.
  ///
  /// - Throws: `CancellationError` when the transfer is over; the producer should then return.
  public func write(_ bytes: [UInt8]) async throws(CancellationError) {
    guard !bytes.isEmpty else { return }
    guard await pipe.write(bytes) else { throw CancellationError() }
  }
}
