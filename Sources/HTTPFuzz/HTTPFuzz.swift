@testable import HTTP

// libFuzzer drives the three parsers that strangers' bytes reach. Beyond memory safety it checks what they promise: the
// outcome depends on the bytes alone, not on how they were cut, and what they accept is within bounds.
//
// The first byte of an input chooses the parser, the second where the input is cut.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard count > 2 else { return 0 }
  let input = UnsafeBufferPointer(start: start, count: count)
  let bytes = Array(input.dropFirst(2))
  let cut = Int(input[1]) % (bytes.count + 1)
  switch input[0] % 3 {
  case 0: fuzzHead(bytes, cut)
  case 1: fuzzChunks(bytes, cut)
  default: fuzzFrames(bytes, cut)
  }
  return 0
}

private enum Outcome<Value: Equatable, Failure: Error & Equatable>: Equatable {
  case value(Value)
  case failure(Failure)
}

private func fuzzHead(_ bytes: [UInt8], _ cut: Int) {
  let whole = parseHead(bytes, [bytes.count])
  let pieces = parseHead(bytes, [cut, bytes.count])
  precondition(whole == pieces, "the cut changed the outcome")
  guard case .value(let layout?) = whole else { return }
  precondition(layout.length <= bytes.count && layout.length >= 2)
  precondition(layout.method.upperBound <= layout.length && !layout.method.isEmpty)
  precondition(layout.path.upperBound <= layout.length)
  for field in layout.fields {
    precondition(!field.name.isEmpty && field.value.upperBound < layout.length)
    precondition(bytes[field.value].allSatisfy { $0 != 13 && $0 != 10 && $0 != 0 })
  }
  precondition(layout.isHTTP10 || layout.host != nil)
  // What follows the head is the body: it too must not depend on cuts.
  guard let decoder = try? BodyDecoder(framing: layout.framing, maximum: 1 << 20) else { return }
  precondition(
    decodeBody(decoder, bytes, layout.length, [bytes.count])
      == decodeBody(decoder, bytes, layout.length, [max(cut, layout.length), bytes.count]))
}

private func parseHead(_ bytes: [UInt8], _ ends: [Int]) -> Outcome<HeadLayout?, ParseError> {
  var parser = HeadParser(limits: HeadLimits(requestLine: 256, fields: 1024, fieldCount: 16))
  do throws(ParseError) {
    for end in ends where try parser.parse(bytes.span.extracting(0..<end)) { return .value(parser.layout) }
    return .value(nil)
  } catch { return .failure(error) }
}

private struct Decoded: Equatable {
  var output: [UInt8]
  var end: Int
  var isComplete: Bool
}

private func decodeBody(
  _ start: BodyDecoder, _ bytes: [UInt8], _ from: Int, _ ends: [Int]
) -> Outcome<Decoded, ParseError> {
  var decoder = start
  var output: [UInt8] = []
  var position = from
  do throws(ParseError) {
    for end in ends where !decoder.isComplete {
      position = try decoder.decode(bytes.span.extracting(0..<end), from: position, into: &output)
      precondition(position == end || decoder.isComplete)
    }
    return .value(Decoded(output: output, end: position, isComplete: decoder.isComplete))
  } catch { return .failure(error) }
}

private func fuzzChunks(_ bytes: [UInt8], _ cut: Int) {
  guard let decoder = try? BodyDecoder(framing: .chunked, maximum: 1 << 20) else { return }
  precondition(decodeBody(decoder, bytes, 0, [bytes.count]) == decodeBody(decoder, bytes, 0, [cut, bytes.count]))
}

private struct Events: Equatable {
  var events: [FrameDecoder.Event] = []
  var fault: FrameDecoder.Fault?
}

private func decodeFrames(_ bytes: [UInt8], _ ends: [Int]) -> Events {
  var decoder = FrameDecoder(maximumMessage: 4096)
  var result = Events()
  var position = 0
  do throws(FrameDecoder.Fault) {
    for end in ends {
      while let event = try decoder.next(bytes.span.extracting(0..<end), &position) { result.events.append(event) }
      precondition(position == end)
    }
  } catch { result.fault = error }
  return result
}

private func fuzzFrames(_ bytes: [UInt8], _ cut: Int) {
  precondition(decodeFrames(bytes, [bytes.count]) == decodeFrames(bytes, [cut, bytes.count]))
}
