import HTTPClient

extension CommandFailure {
  /// Why no answer came. `uncertain`: the request may have been carried out all the same.
  init(_ error: HTTPClientError, changes: Bool) {
    switch error.kind {
    case .cancelled, .closed: self = .interrupted
    case .invalidRequest:
      self.init(.usage, "\(error)", hint: "An address looks like https://aloft.example:8443; see --url and ALOFT_URL.")
    case .file:
      self.init(.usage, "\(error)", hint: "Check that the file is there, readable and not being written to.")
    case .tls(let failure):
      self.init(.serverFault, "\(error)", hint: Self.hint(failure))
    case .resolve, .connect:
      self.init(
        .serverFault, "\(error)",
        hint: "Is the server running, and is this its address? See --url and ALOFT_URL.")
    default:
      let hint =
        changes && !error.happenedBeforeSending
        ? "Whether the change was made is not known; look before you try again." : "Try again in a moment."
      self.init(.serverFault, "\(error)", hint: hint)
    }
  }

  private static func hint(_ failure: HTTPClientError.TLSFailure) -> String {
    switch failure {
    case .untrustedCertificate: "Name the file with the server's authority: --ca-cert or ALOFT_CA_CERT."
    case .hostMismatch: "Use the name that is in the server's certificate: --url or ALOFT_URL."
    case .notValidNow: "The server needs a new certificate; check this machine's clock too."
    case .localCredentials: "Check the file that --ca-cert or ALOFT_CA_CERT names."
    case .clientCertificateRefused, .handshake: "Is this the API's own port? See --url and ALOFT_URL."
    }
  }
}
