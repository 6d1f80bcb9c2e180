"""The closed forms of the theory: pure scalar mathematics, undecorated, importing nothing but `math`.

Every function here is ordinary Python that can be read, tested and differentiated as it stands;
`dynlab.machine.jit` compiles the same sources for the CPU.
"""
