import JSON

/// Why an OpenAPI document cannot become a contract.
public struct ContractError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file as named in the document, relative to the root file's folder.
  public let file: String
  /// Where in the file.
  public let pointer: JSONPointer
  /// What is wrong, and where possible what would be right.
  public let problem: String

  public init(file: String, pointer: JSONPointer = JSONPointer(), problem: String) {
    self.file = file
    self.pointer = pointer
    self.problem = problem
  }

  public var description: String { "\(file)#\(pointer): \(problem)" }
}
