/// What RFC 9112 demands of the target and of the fields that decide where a request ends.
extension HeadLayout {
  /// Splits the request target (RFC 9112, 3.2) into authority, path and query.
  mutating func setTarget(_ range: Range<Int>, in input: Span<UInt8>) throws(ParseError) {
    let first = range.lowerBound
    if input.equals("CONNECT", in: method) { throw .unsupportedMethod }
    try checkPercentEncoding(range, in: input)
    if input[first] == UInt8(ascii: "*") {
      guard range.count == 1, input.equals("OPTIONS", in: method) else { throw .invalidTarget }
      path = range
      return
    }
    var start = first
    if input[first] != UInt8(ascii: "/") {
      guard let afterScheme = input.endOfScheme(in: range) else { throw .invalidTarget }
      start = afterScheme
      while start < range.upperBound, input[start] != UInt8(ascii: "/"), input[start] != UInt8(ascii: "?") {
        start += 1
      }
      guard start > afterScheme, input.isHost(afterScheme..<start) else { throw .invalidTarget }
      authority = afterScheme..<start
    }
    var end = start
    while end < range.upperBound, input[end] != UInt8(ascii: "?") { end += 1 }
    path = start..<end
    query = end < range.upperBound ? end + 1..<range.upperBound : nil
  }

  private func checkPercentEncoding(_ range: Range<Int>, in input: Span<UInt8>) throws(ParseError) {
    for index in range where input[index] == UInt8(ascii: "%") {
      guard index + 2 < range.upperBound, input[index + 1].hexValue != nil, input[index + 2].hexValue != nil else {
        throw .invalidTarget
      }
    }
  }

  /// Takes note of a field that steers the connection.
  mutating func note(_ role: KnownField.Role, value: Range<Int>, in input: Span<UInt8>) throws(ParseError) {
    switch role {
    case .none: break
    case .host:
      guard host == nil else { throw .duplicateHost }
      guard input.isHost(value) else { throw .invalidHost }
      host = value
    case .contentLength:
      switch framing {
      case .none: framing = .length(try input.decimal(value))
      case .length: throw .duplicateContentLength
      case .chunked: throw .contentLengthWithTransferEncoding
      }
    case .transferEncoding:
      switch framing {
      case .none: break
      case .length: throw .contentLengthWithTransferEncoding
      case .chunked: throw .duplicateTransferEncoding
      }
      if isHTTP10 { throw .transferEncodingInHTTP10 }
      guard input.equalsIgnoringCase("chunked", in: value) else { throw .unsupportedTransferCoding }
      framing = .chunked
    case .connection:
      input.forEachListElement(in: value) { element in
        if input.equalsIgnoringCase("close", in: element) { saysClose = true }
        if input.equalsIgnoringCase("keep-alive", in: element) { saysKeepAlive = true }
        if input.equalsIgnoringCase("upgrade", in: element) { saysUpgrade = true }
      }
    case .expect:
      guard input.equalsIgnoringCase("100-continue", in: value) else { throw .unsupportedExpectation }
      expectsContinue = !isHTTP10
    case .upgrade:
      input.forEachListElement(in: value) { element in
        if input.equalsIgnoringCase("websocket", in: element) { upgradesToWebSocket = true }
      }
    }
  }

  /// What can be said only when all fields are known.
  func checkFraming() throws(ParseError) {
    if host == nil, !isHTTP10 { throw .missingHost }
  }
}

extension Span<UInt8> {
  func equals(_ text: StaticString, in range: Range<Int>) -> Bool {
    guard range.count == text.utf8CodeUnitCount else { return false }
    for offset in 0..<range.count where self[range.lowerBound + offset] != text.utf8Start[offset] { return false }
    return true
  }

  /// `text` must be lower case.
  func equalsIgnoringCase(_ text: StaticString, in range: Range<Int>) -> Bool {
    guard range.count == text.utf8CodeUnitCount else { return false }
    for offset in 0..<range.count where self[range.lowerBound + offset].lowercased != text.utf8Start[offset] {
      return false
    }
    return true
  }

  fileprivate func isHost(_ range: Range<Int>) -> Bool {
    let set = ByteSet.host
    for index in range where !set.contains(self[index]) { return false }
    return true
  }

  /// The offset after `http://` or `https://` at the start of `range`.
  fileprivate func endOfScheme(in range: Range<Int>) -> Int? {
    for (length, text) in [(7, "http://" as StaticString), (8, "https://")] where range.count >= length {
      if equalsIgnoringCase(text, in: range.lowerBound..<range.lowerBound + length) { return range.lowerBound + length }
    }
    return nil
  }

  /// `1*DIGIT` that fits: no sign, no list, at most 18 digits.
  fileprivate func decimal(_ range: Range<Int>) throws(ParseError) -> Int64 {
    guard !range.isEmpty, range.count <= 18 else { throw .invalidContentLength }
    var value: Int64 = 0
    for index in range {
      guard self[index].isDigit else { throw .invalidContentLength }
      value = value * 10 + Int64(self[index] - UInt8(ascii: "0"))
    }
    return value
  }

  /// Calls `body` with each element of a comma-separated list, spaces around it removed.
  fileprivate func forEachListElement(in range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = range.lowerBound
    while start <= range.upperBound {
      var comma = start
      while comma < range.upperBound, self[comma] != UInt8(ascii: ",") { comma += 1 }
      var low = start
      var high = comma
      while low < high, self[low] == .space || self[low] == .tab { low += 1 }
      while high > low, self[high - 1] == .space || self[high - 1] == .tab { high -= 1 }
      if low < high { body(low..<high) }
      start = comma + 1
    }
  }
}
