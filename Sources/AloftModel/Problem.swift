/// An error of the API as clients see it: `application/problem+json` (RFC 9457).
public struct Problem: Error, Sendable, Codable, Equatable {
  /// One fault in a request.
  public struct FieldError: Sendable, Codable, Equatable {
    public var code: ProblemCode
    public var detail: String
    /// The place in the body (RFC 6901).
    public var pointer: String?
    /// The parameter or header.
    public var parameter: String?

    public init(code: ProblemCode, detail: String, pointer: String? = nil, parameter: String? = nil) {
      self.code = code
      self.detail = detail
      self.pointer = pointer
      self.parameter = parameter
    }
  }

  public var type: String
  public var title: String
  public var status: Int
  public var code: ProblemCode
  /// What was wrong, where, and what would work.
  public var detail: String
  public var requestId: String
  public var errors: [FieldError]?
  public var refusal: PlacementRefusal?
  public var quota: QuotaRefusal?
  /// What is wrong with an image.
  public var image: ImageFault?
  /// Where an upload is to go on, in bytes.
  public var uploadOffset: Int?

  /// A problem; the request id is filled in where the request is known.
  public init(
    _ code: ProblemCode, _ detail: String, errors: [FieldError]? = nil, refusal: PlacementRefusal? = nil,
    quota: QuotaRefusal? = nil
  ) {
    type = "/docs#problem-\(code.rawValue)"
    title = code.title
    status = code.status
    self.code = code
    self.detail = detail
    requestId = ""
    self.errors = errors
    self.refusal = refusal
    self.quota = quota
  }
}

/// Why no node was found for a VM.
public struct PlacementRefusal: Sendable, Codable, Equatable {
  /// One constraint and how many nodes it took out.
  public struct Removal: Sendable, Codable, Equatable {
    public var constraint: String
    public var nodes: Int
    public var reason: String

    public init(constraint: String, nodes: Int, reason: String) {
      self.constraint = constraint
      self.nodes = nodes
      self.reason = reason
    }
  }

  /// How many nodes there are.
  public var nodes: Int
  public var removed: [Removal]
  /// Small changes each of which would make it fit.
  public var hints: [String]

  public init(nodes: Int, removed: [Removal], hints: [String]) {
    self.nodes = nodes
    self.removed = removed
    self.hints = hints
  }
}

/// What is wrong with an uploaded image.
public struct ImageFault: Sendable, Codable, Equatable {
  /// The refusal: one of `DiskImages.ImageRefusal.Code`, or `inspection_failed`.
  public var code: String
  /// Where in the file, in bytes.
  public var offset: Int?

  public init(code: String, offset: Int?) {
    self.code = code
    self.offset = offset
  }
}
