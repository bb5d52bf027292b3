/// Why bytes from a client are not an HTTP/1.1 request that this server takes. Every case ends the connection: after it
/// the two sides may disagree on where the next request begins.
package enum ParseError: Error, Equatable, Sendable, CaseIterable {
  case malformedRequestLine
  case invalidMethod
  case invalidTarget
  case targetTooLong
  case unsupportedVersion
  case unsupportedMethod
  case invalidFieldName
  case invalidFieldValue
  case foldedField
  case bareLineBreak
  case fieldsTooLarge
  case tooManyFields
  case missingHost
  case duplicateHost
  case invalidHost
  case invalidContentLength
  case duplicateContentLength
  case contentLengthWithTransferEncoding
  case unsupportedTransferCoding
  case duplicateTransferEncoding
  case transferEncodingInHTTP10
  case unsupportedExpectation
  case invalidChunkSize
  case invalidChunk
  case chunkMetadataTooLarge
  case bodyTooLarge

  /// The status code of the answer.
  package var status: Int {
    switch self {
    case .targetTooLong: 414
    case .unsupportedVersion: 505
    case .unsupportedMethod, .unsupportedTransferCoding: 501
    case .fieldsTooLarge, .tooManyFields: 431
    case .unsupportedExpectation: 417
    case .bodyTooLarge: 413
    default: 400
    }
  }

  /// What was wrong and what would work, for the client.
  package var detail: String {
    switch self {
    case .malformedRequestLine: "The request line must be METHOD SP target SP HTTP/1.1 CRLF."
    case .invalidMethod: "The method must be a token of at most 32 characters."
    case .invalidTarget:
      "The request target must be a path that begins with '/' (or an absolute http URI), percent-encoded, without fragment."
    case .targetTooLong: "The request line is too long."
    case .unsupportedVersion: "Use HTTP/1.1."
    case .unsupportedMethod: "CONNECT is not offered here."
    case .invalidFieldName: "A field line must be name: value, without space before the colon."
    case .invalidFieldValue: "A field value holds a control character."
    case .foldedField: "A field must not continue on another line."
    case .bareLineBreak: "Lines must end with CR LF."
    case .fieldsTooLarge: "The header section is too large."
    case .tooManyFields: "The header section has too many fields."
    case .missingHost: "An HTTP/1.1 request needs a Host field."
    case .duplicateHost: "A request must have one Host field only."
    case .invalidHost: "The Host field must be a host name or address with an optional port."
    case .invalidContentLength: "Content-Length must be a decimal number."
    case .duplicateContentLength: "A request must have one Content-Length only."
    case .contentLengthWithTransferEncoding: "Send either Content-Length or Transfer-Encoding, not both."
    case .unsupportedTransferCoding: "The only transfer coding understood is chunked."
    case .duplicateTransferEncoding: "A request must have one Transfer-Encoding field only."
    case .transferEncodingInHTTP10: "Transfer-Encoding needs HTTP/1.1."
    case .unsupportedExpectation: "The only expectation understood is 100-continue."
    case .invalidChunkSize: "A chunk must begin with its size in hexadecimal and CR LF."
    case .invalidChunk: "A chunk must end with CR LF."
    case .chunkMetadataTooLarge: "Chunk extensions and trailers are too large."
    case .bodyTooLarge: "The body is larger than this server takes."
    }
  }
}
