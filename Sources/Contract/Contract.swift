// The Contract module: an OpenAPI 3.1 document becomes router, validator and documentation. It knows HTTP and nothing of
// clouds.
//
// Invariants
// - A rule that is written in the document is enforced, or loading fails: no keyword, format or style is ignored quietly.
// - Everything is compiled at load; a request is never checked by walking the document.
// - No request can cost more than a bounded amount of work or give an unbounded answer: patterns are matched in linear
//   time, alternatives by a budget, violations up to `Violation.limit`.
// - Messages repeat at most 40 characters of what was sent.

import FoundationEssentials
import JSON

/// An OpenAPI 3.1 document, ready to route and to check.
public final class Contract: Sendable {
  /// All operations in the order of the document.
  public let operations: [Operation]
  /// Finds the operation for a method and a path.
  public let router: Router
  /// The whole document with every reference inside of it.
  public let document: JSONValue
  /// `document` as text: what `/openapi.json` serves.
  public let bundledJSON: [UInt8]

  let table: SchemaTable
  let bundle: Bundle
  private let operationsByID: [String: Operation]

  /// Loads a document from a YAML (or JSON) file, with the files that it refers to.
  public static func load(file: String) throws(ContractError) -> Contract {
    let parts = file.split(separator: "/", omittingEmptySubsequences: false)
    let folder = parts.dropLast().joined(separator: "/")
    return try load(root: parts.last.map(String.init) ?? file) { (name) throws(ContractError) in
      let path = parts.count > 1 ? folder + "/" + name : name
      do {
        return try String(contentsOfFile: path, encoding: .utf8)
      } catch {
        throw ContractError(file: name, problem: "cannot be read at \(path)")
      }
    }
  }

  /// Loads a document whose files are read by the caller.
  /// - Parameters:
  ///   - root: the file to start from.
  ///   - read: gives the text of a file, named relative to the root's folder.
  public static func load(
    root: String, read: @escaping (String) throws(ContractError) -> String
  ) throws(ContractError) -> Contract {
    try Contract(try Bundler.bundle(root: root, read: read))
  }

  private init(_ bundle: Bundle) throws(ContractError) {
    var builder = OperationBuilder(bundle)
    let operations = try builder.operations()
    var byID: [String: Operation] = [:]
    for operation in operations {
      if let other = byID.updateValue(operation, forKey: operation.id) {
        throw bundle.failure(at: operation.pointer, "the operationId \(operation.id) is also that of \(other.path)")
      }
    }
    self.bundle = bundle
    self.operations = operations
    operationsByID = byID
    router = try Router(operations, bundle)
    table = builder.compiler.table
    document = bundle.document
    bundledJSON = bundle.document.bytes
  }

  /// The operation with that `operationId`.
  public func operation(_ id: String) -> Operation? { operationsByID[id] }

  /// Compares operations with handlers by `operationId`: `missing` have no handler, `extra` have no operation.
  public func unbound(handlers: Set<String>) -> (missing: [String], extra: [String]) {
    (operations.map(\.id).filter { !handlers.contains($0) }, handlers.subtracting(operations.map(\.id)).sorted())
  }
}
