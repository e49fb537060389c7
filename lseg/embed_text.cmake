# Writes OUTPUT, a C++ source that defines lseg::NAME as the text of the file INPUT.
file(READ "${INPUT}" text)
file(WRITE "${OUTPUT}" "namespace lseg {
extern const char ${NAME}[];
const char ${NAME}[] = R\"embedded(${text})embedded\";
}  // namespace lseg
")
