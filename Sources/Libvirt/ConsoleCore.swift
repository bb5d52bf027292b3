import CLibvirt
import Execution

/// The stream behind a ``Console``: what libvirt's event thread works on.
final class ConsoleCore: Sendable {
  private struct State {
    /// The stream's pointer as bits; 0 when closed. libvirt's streams may be used by several threads.
    var stream: UInt
    var input: [UInt8] = []
  }

  private let state: Lock<State>
  private let continuation: AsyncStream<[UInt8]>.Continuation

  private static let always =
    Int32(VIR_STREAM_EVENT_READABLE.rawValue) | Int32(VIR_STREAM_EVENT_HANGUP.rawValue)
    | Int32(VIR_STREAM_EVENT_ERROR.rawValue)
  private static let writable = Int32(VIR_STREAM_EVENT_WRITABLE.rawValue)

  /// Takes over the caller's reference to the stream.
  init(_ stream: virStreamPtr, _ continuation: AsyncStream<[UInt8]>.Continuation) throws(LibvirtError) {
    state = Lock(State(stream: UInt(bitPattern: stream)))
    self.continuation = continuation
    let opaque = Unmanaged.passRetained(self)
    let result = virStreamEventAddCallback(
      stream, Self.always,
      { stream, events, opaque in
        guard let stream, let opaque else { return }
        Unmanaged<ConsoleCore>.fromOpaque(opaque).takeUnretainedValue().handle(stream, events)
      }, opaque.toOpaque(),
      { opaque in
        if let opaque { Unmanaged<ConsoleCore>.fromOpaque(opaque).release() }
      })
    guard result == 0 else {
      let error = LibvirtError.last()
      opaque.release()
      virStreamAbort(stream)
      virStreamFree(stream)
      throw error
    }
  }

  func write(_ bytes: [UInt8]) throws(LibvirtError) {
    try use { stream throws(LibvirtError) in
      let fits = state.withLock { state -> Bool in
        guard state.input.count + bytes.count <= Console.inputBufferSize else { return false }
        state.input += bytes
        return true
      }
      guard fits else { throw LibvirtError(.resourceBusy, message: "the guest does not read its console") }
      virStreamEventUpdateCallback(stream, Self.always | Self.writable)
    }
  }

  func close() {
    let bits = state.withLock { state -> UInt in
      defer { state.stream = 0 }
      return state.stream
    }
    guard let stream = virStreamPtr(bitPattern: bits) else { return }
    continuation.finish()
    virStreamEventRemoveCallback(stream)
    virStreamAbort(stream)
    virStreamFree(stream)
  }

  private func use(_ body: (virStreamPtr) throws(LibvirtError) -> Void) throws(LibvirtError) {
    let bits = state.withLock { state -> UInt in
      if let stream = virStreamPtr(bitPattern: state.stream) { virStreamRef(stream) }
      return state.stream
    }
    guard let stream = virStreamPtr(bitPattern: bits) else {
      throw LibvirtError(.connectionLost, message: "the console is closed")
    }
    defer { virStreamFree(stream) }
    try body(stream)
  }

  // The rest runs on libvirt's event thread.

  private func handle(_ stream: virStreamPtr, _ events: Int32) {
    if events & Int32(VIR_STREAM_EVENT_READABLE.rawValue) != 0 { receive(stream) }
    if events & Self.writable != 0 { send(stream) }
    if events & (Int32(VIR_STREAM_EVENT_HANGUP.rawValue) | Int32(VIR_STREAM_EVENT_ERROR.rawValue)) != 0 { end(stream) }
  }

  /// Tells the reader and asks for no more events; the reader's end of iteration frees the stream on another thread.
  private func end(_ stream: virStreamPtr) {
    virStreamEventUpdateCallback(stream, 0)
    continuation.finish()
  }

  private func receive(_ stream: virStreamPtr) {
    while true {
      var result: Int32 = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
        result = buffer.withMemoryRebound(to: CChar.self) { virStreamRecv(stream, $0.baseAddress, $0.count) }
        count = Int(max(0, result))
      }
      // -2: nothing more for now.
      if result == -2 { return }
      guard result > 0 else { return end(stream) }
      if case .enqueued = continuation.yield(bytes) { continue }
      return end(stream)
    }
  }

  private func send(_ stream: virStreamPtr) {
    while true {
      let input = state.withLock { $0.input }
      if input.isEmpty { break }
      let result = input.withUnsafeBytes { bytes in
        virStreamSend(stream, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
      }
      if result == -2 { return }
      guard result >= 0 else { return end(stream) }
      // Only this thread removes, so what was sent is still in front.
      state.withLock { $0.input.removeFirst(Int(result)) }
    }
    virStreamEventUpdateCallback(stream, Self.always)
    // A writer that came between the look and the update would wait for ever.
    if !state.withLock({ $0.input.isEmpty }) { virStreamEventUpdateCallback(stream, Self.always | Self.writable) }
  }
}
