import JSON

/// One connection that stands: bytes in both directions, and what was asked by the client itself.
final class Session {
  /// What to do with the answer to a request of the client's own.
  typealias Handler = (_ result: JSONValue, _ fault: ServerFault?) throws(ConnectionEnd) -> Void

  let transport: Transport
  let remote: Remote
  let began: ContinuousClock.Instant
  private let probeInterval: Duration
  private let probeTimeout: Duration
  private var splitter: MessageSplitter
  private let maximumDepth: Int
  private var output: [UInt8] = []
  private var written = 0
  private var input = [UInt8](repeating: 0, count: 1 << 16)
  private var lastInput: ContinuousClock.Instant
  private var probeSent = false
  /// Own requests have negative numbers, those of callers positive ones.
  private var nextID: Int64 = -1
  private var handlers: [Int64: Handler] = [:]

  /// What the server said about itself in its database `_Server`.
  var server = ReplicaContent()
  var schema: DatabaseSchema?
  /// Whether callers' requests may be sent.
  var isReady = false
  /// Whether the last reads have not taken all that there was.
  private(set) var hasMoreInput = false

  init(_ transport: Transport, remote: Remote, configuration: OVSDBConfiguration) {
    self.transport = transport
    self.remote = remote
    began = configuration.environment.now()
    lastInput = began
    probeInterval = configuration.probeInterval
    probeTimeout = configuration.probeTimeout
    maximumDepth = configuration.maximumDepth
    splitter = MessageSplitter(maximumSize: configuration.maximumMessageSize, maximumDepth: configuration.maximumDepth)
  }

  var hasOutput: Bool { written < output.count }

  func send(_ bytes: [UInt8]) { output += bytes }

  /// Sends a request of the client's own.
  func request(_ method: String, _ params: JSONValue, _ handler: @escaping Handler = { _, _ throws(ConnectionEnd) in })
  {
    handlers[nextID] = handler
    send(Message.request(id: nextID, method: method, params: params))
    nextID -= 1
  }

  /// The handler of an own request, once.
  func takeHandler(_ id: Int64) -> Handler? { handlers.removeValue(forKey: id) }

  /// Nobody waits for the call any more. A transaction that still waits in the server is ended there.
  func cancel(_ call: Call) {
    let message: JSONValue = ["id": nil, "method": "cancel", "params": [.integer(call.id)]]
    send(message.bytes)
  }

  /// Writes what the kernel takes.
  func flush() throws(ConnectionEnd) {
    while written < output.count {
      guard case .bytes(let count) = try transport.write(output[written...]) else { return }
      written += count
    }
    output.removeAll(keepingCapacity: output.capacity <= 1 << 20)
    written = 0
  }

  /// Reads what is there, but not so much that nothing else gets its turn.
  func receive(now: ContinuousClock.Instant) throws(ConnectionEnd) {
    for _ in 0..<16 {
      guard case .bytes(let count) = try transport.read(into: &input) else {
        hasMoreInput = false
        return
      }
      lastInput = now
      probeSent = false
      splitter.append(input[..<count])
    }
    hasMoreInput = true
  }

  /// The next whole message, nil when there is none yet.
  func nextMessage() throws(ConnectionEnd) -> Message? {
    let bytes: [UInt8]?
    do throws(MessageSplitter.Fault) { bytes = try splitter.next() } catch {
      throw ConnectionEnd("the server does not speak the protocol: \(error)")
    }
    guard let bytes else { return nil }
    let json: JSONValue
    do throws(JSONParseError) { json = try JSONValue.parse(bytes, maximumDepth: maximumDepth) } catch {
      throw ConnectionEnd("the server sent invalid JSON: \(error)")
    }
    guard let message = Message(json: json) else {
      throw ConnectionEnd("the server sent JSON that is no JSON-RPC message")
    }
    return message
  }

  /// When to ask whether the server is alive, or to give it up.
  var probeDue: ContinuousClock.Instant { lastInput + probeInterval + (probeSent ? probeTimeout : .zero) }

  /// Asks for an echo when nothing came for a while, and gives up when nothing has come since.
  func probe(now: ContinuousClock.Instant) throws(ConnectionEnd) {
    guard now >= probeDue else { return }
    if probeSent { throw ConnectionEnd("the server was silent for \(probeInterval + probeTimeout)") }
    probeSent = true
    request("echo", [])
  }
}
