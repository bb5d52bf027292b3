import JSON

/// A JSON-RPC 1.0 message from a server (RFC 7047, 4).
enum Message: Hashable {
  /// The server asks, and wants an answer under this id.
  case request(id: JSONValue, method: String, params: JSONValue)
  case notification(method: String, params: JSONValue)
  /// `error` is null in an answer that is none; then `result` counts.
  case response(id: Int64, result: JSONValue, error: JSONValue)

  /// Nil when the JSON is no message.
  init?(json: JSONValue) {
    guard let object = json.objectValue else { return nil }
    let id = object["id"] ?? .null
    if let method = object["method"]?.stringValue {
      let params = object["params"] ?? []
      self =
        id.isNull ? .notification(method: method, params: params) : .request(id: id, method: method, params: params)
    } else {
      guard let number = id.integerValue, object.contains("result") || object.contains("error") else { return nil }
      self = .response(id: number, result: object["result"] ?? .null, error: object["error"] ?? .null)
    }
  }

  /// What a client asks.
  static func request(id: Int64, method: String, params: JSONValue) -> [UInt8] {
    let message: JSONValue = ["id": .integer(id), "method": .string(method), "params": params]
    return message.bytes
  }

  /// What a client answers.
  static func reply(id: JSONValue, result: JSONValue) -> [UInt8] {
    let message: JSONValue = ["id": id, "result": result, "error": nil]
    return message.bytes
  }
}
