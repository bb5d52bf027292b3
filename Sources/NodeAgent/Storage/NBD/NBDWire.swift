import CLinux
import Glibc

/// The client's side of the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md), as far as it is needed to read and write
/// an export of `qemu-nbd`: fixed newstyle, structured replies, one request at a time. Calls block.
struct NBDWire {
  let socket: Int32

  private static let option: UInt64 = 0x4948_4156_454F_5054
  private static let optionReply: UInt64 = 0x0003_e889_0455_65a9
  private static let request: UInt32 = 0x2560_9513
  private static let simpleReply: UInt32 = 0x6744_6698
  private static let structuredReply: UInt32 = 0x668e_33ef

  private enum Option: UInt32 { case go = 7, structuredReply = 8, setMetaContext = 10 }
  private enum Command: UInt16 { case read = 0, write, disconnect, flush, blockStatus = 7 }

  func close() { Glibc.close(socket) }

  // MARK: The handshake

  /// Returns the export's size.
  func negotiate(_ context: String) throws(AgentFailure) -> Int {
    let greeting = NBDBytes(try receive(18))
    guard greeting.number(0, 8) == 0x4e42_444d_4147_4943, greeting.number(8, 8) == Int(Self.option),
      greeting.number(16, 2) & 1 == 1
    else { throw Self.violation("it does not greet") }
    try send(NBDBytes.big(UInt32(3)))
    try ask(.structuredReply, [])
    guard try answer().type == 1 else { throw Self.violation("it has no structured replies") }
    let name = Array(context.utf8)
    try ask(
      .setMetaContext,
      NBDBytes.big(UInt32(0)) + NBDBytes.big(UInt32(1)) + NBDBytes.big(UInt32(name.count)) + name)
    guard try answer().type == 4, try answer().type == 1 else { throw Self.violation("it does not know \(context)") }
    try ask(.go, NBDBytes.big(UInt32(0)) + NBDBytes.big(UInt16(0)))
    var size: Int?
    while true {
      let (type, data) = try answer()
      let bytes = NBDBytes(data)
      switch type {
      case 3: if data.count >= 12, bytes.number(0, 2) == 0 { size = bytes.number(2, 8) }
      case 1:
        guard let size else { throw Self.violation("it does not say how large its export is") }
        return size
      default: throw Self.violation("it refuses: \(String(decoding: data, as: UTF8.self))")
      }
    }
  }

  private func ask(_ option: Option, _ data: [UInt8]) throws(AgentFailure) {
    try send(
      NBDBytes.big(Self.option) + NBDBytes.big(option.rawValue) + NBDBytes.big(UInt32(data.count)) + data)
  }

  private func answer() throws(AgentFailure) -> (type: Int, data: [UInt8]) {
    let head = NBDBytes(try receive(20))
    let length = head.number(16, 4)
    guard head.number(0, 8) == Int(Self.optionReply), length <= 1 << 16 else {
      throw Self.violation("it answers nothing")
    }
    return (head.number(12, 4), try receive(length))
  }

  // MARK: Requests

  func read(_ range: Range<Int>) throws(AgentFailure) -> [UInt8] {
    try command(.read, range)
    // What is not sent is a hole.
    var bytes = [UInt8](repeating: 0, count: range.count)
    for (type, data) in try replies() where type == 1 && data.count >= 8 {
      let offset = NBDBytes(data).number(0, 8) - range.lowerBound
      let content = data.dropFirst(8)
      guard offset >= 0, offset + content.count <= bytes.count else { throw Self.violation("it sends other bytes") }
      bytes.replaceSubrange(offset..<offset + content.count, with: content)
    }
    return bytes
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(AgentFailure) {
    try command(.write, offset..<offset + bytes.count)
    try send(bytes)
    _ = try replies()
  }

  func flush() throws(AgentFailure) {
    try command(.flush, 0..<0)
    _ = try replies()
  }

  /// What there is to know of a range from its beginning on: lengths and answers.
  func status(_ range: Range<Int>) throws(AgentFailure) -> [(length: Int, answer: Int)] {
    try command(.blockStatus, range)
    var found: [(length: Int, answer: Int)] = []
    for (type, data) in try replies() where type == 5 {
      for position in stride(from: 4, to: data.count - 7, by: 8) {
        found.append((NBDBytes(data).number(position, 4), NBDBytes(data).number(position + 4, 4)))
      }
    }
    guard !found.isEmpty, found.allSatisfy({ $0.length > 0 }) else {
      throw Self.violation("it does not tell what is where")
    }
    return found
  }

  /// Says goodbye, and closes the connection.
  func leave() {
    try? command(.disconnect, 0..<0)
    close()
  }

  private func command(_ command: Command, _ range: Range<Int>) throws(AgentFailure) {
    try send(
      NBDBytes.big(Self.request) + NBDBytes.big(UInt16(0)) + NBDBytes.big(command.rawValue) + NBDBytes.big(UInt64(1))
        + NBDBytes.big(UInt64(range.lowerBound)) + NBDBytes.big(UInt32(range.count)))
  }

  /// All pieces of the answer to a request.
  private func replies() throws(AgentFailure) -> [(type: Int, data: [UInt8])] {
    var pieces: [(type: Int, data: [UInt8])] = []
    while true {
      let magic = NBDBytes(try receive(4)).number(0, 4)
      if magic == Int(Self.simpleReply) {
        let code = NBDBytes(try receive(12)).number(0, 4)
        guard code == 0 else { throw Self.failed(code) }
        return pieces
      }
      guard magic == Int(Self.structuredReply) else { throw Self.violation("it answers nothing") }
      let head = NBDBytes(try receive(16))
      let (isLast, type, length) = (head.number(0, 2) & 1 == 1, head.number(2, 2), head.number(12, 4))
      guard length <= 64 << 20 else { throw Self.violation("it answers too much") }
      let data = try receive(length)
      if type & 0x8000 != 0 { throw Self.failed(data.count >= 4 ? NBDBytes(data).number(0, 4) : 0) }
      if type != 0 { pieces.append((type, data)) }
      if isLast { return pieces }
    }
  }

  // MARK: Bytes

  private func send(_ bytes: [UInt8]) throws(AgentFailure) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        Glibc.send(socket, buffer.baseAddress.map { $0 + done }, buffer.count - done, Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw FileSystem.failure("writing to", "qemu-nbd") }
      done += count
    }
  }

  private func receive(_ count: Int) throws(AgentFailure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = bytes.withUnsafeMutableBytes { buffer in
        recv(socket, buffer.baseAddress.map { $0 + done }, count - done, 0)
      }
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else { throw FileSystem.failure("reading from", "qemu-nbd") }
      guard got > 0 else { throw AgentFailure(.hypervisorRefused, "qemu-nbd ended before it had answered") }
      done += got
    }
    return bytes
  }

  private static func violation(_ what: String) -> AgentFailure {
    AgentFailure(.hypervisorRefused, "qemu-nbd does not do what it should: \(what)")
  }

  /// The protocol's numbers of errors are those of Linux.
  private static func failed(_ code: Int) -> AgentFailure {
    let reason = String(cString: strerror(Int32(truncatingIfNeeded: code)))
    let isFull = code == Int(ENOSPC)
    return AgentFailure(isFull ? .diskFull : .hypervisorRefused, "qemu-nbd could not read or write: \(reason)")
  }
}

/// Numbers as they travel: the highest byte first.
struct NBDBytes {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Numbers of 64 bits are cut to what counts bytes here; those that are missing read as 0.
  func number(_ offset: Int, _ width: Int) -> Int {
    guard offset + width <= bytes.count else { return 0 }
    var value: UInt64 = 0
    for position in offset..<offset + width { value = value << 8 | UInt64(bytes[position]) }
    return Int(truncatingIfNeeded: value & UInt64(Int.max))
  }

  static func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
  }
}
