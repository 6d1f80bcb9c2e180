"""Phase diagrams: one module of tests a subject. A small grid is computed once and compared with many others."""
