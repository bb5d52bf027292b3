import Contract
import HTTPTypes
import JSON
import Testing

/// Loads a contract from files in memory; `root.yaml` is the root.
func load(_ files: [String: String]) throws(ContractError) -> Contract {
  try Contract.load(root: "root.yaml") { (name) throws(ContractError) in
    guard let text = files[name] else { throw ContractError(file: name, problem: "no such file") }
    return text
  }
}

/// A document around paths and components that are given as YAML, indented by two.
func document(paths: String, components: String = "") -> String {
  """
  openapi: 3.1.0
  info: { title: Test, version: 1.10 }
  tags: [{ name: t }]
  paths:
  \(paths)
  \(components.isEmpty ? "" : "components:\n" + components)
  """
}

/// A contract with one operation, `POST /x`, whose body has the given schema (flow style YAML).
func contract(body schema: String, components: String = "") throws -> Contract {
  try load([
    "root.yaml": document(
      paths: """
          /x:
            post:
              operationId: x
              requestBody:
                required: true
                content: { application/json: { schema: \(schema) } }
              responses:
                "200": { description: d, content: { application/json: { schema: \(schema) } } }
        """, components: components)
  ])
}

/// A contract with one operation, `GET /x/{p}`, with the given further parameters (flow style YAML).
func contract(parameters: String) throws -> Contract {
  try load([
    "root.yaml": document(
      paths: """
          /x/{p}:
            get:
              operationId: x
              parameters:
                - { name: p, in: path, required: true, schema: { type: string, maxLength: 5 } }
                - \(parameters)
              responses: { "200": { description: d } }
        """)
  ])
}

extension Contract {
  func match(_ method: HTTPRequest.Method, _ path: String) throws -> OperationMatch {
    guard case .match(let match) = router.match(method, path) else {
      throw ContractError(file: path, problem: "no route")
    }
    return match
  }

  /// Validates a JSON body for the operation of `contract(body:)`; gives what is wrong.
  func violations(body: String, contentType: String? = "application/json") throws -> [Violation] {
    var headers = HTTPFields()
    headers[.contentType] = contentType
    let match = try match(.post, "/x")
    do throws(RequestRefusal) {
      _ = try validate(match, query: nil, headers: headers, body: Array(body.utf8))
      return []
    } catch {
      return error.violations
    }
  }

  /// Validates a GET with a query; gives the parameters or what is wrong.
  func parameters(
    _ path: String = "/x/a", query: String? = nil, headers: HTTPFields = [:]
  ) throws -> Result<ValidatedRequest.Parameters, RequestRefusal> {
    let match = try match(.get, path)
    do throws(RequestRefusal) {
      return .success(try validate(match, query: query, headers: headers, body: []).parameters)
    } catch {
      return .failure(error)
    }
  }
}

extension Result where Success == ValidatedRequest.Parameters, Failure == RequestRefusal {
  /// `kind location` of each violation.
  var faults: [String] {
    switch self {
    case .success: []
    case .failure(let refusal): refusal.violations.map(\.brief)
    }
  }
}

extension Violation {
  /// Kind and place in few characters: `wrongType /a/b`, `missing ?limit`.
  var brief: String {
    switch location {
    case .body(let pointer): "\(kind) \(pointer)"
    case .query(let name): "\(kind) ?\(name)"
    case .path(let name): "\(kind) {\(name)}"
    case .header(let name): "\(kind) \(name):"
    case .status: "\(kind) status"
    }
  }
}
