//! Media containers and catalogs to and from MoQ objects, without IO.
