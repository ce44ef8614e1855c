"""The twin of Geometry3K: a labelled diagram, the goal in the text, a number after one to three steps."""

from credit_zoo.twins import geometry_angles as angles
from credit_zoo.twins import geometry_lengths as lengths
from credit_zoo.twins.long_solutions import longer
from credit_zoo.twins.twin import Family, Twin

FAMILIES: dict[str, Family] = {
    "angle sum": angles.AngleSum(),
    "isosceles": angles.Isosceles(),
    "exterior angle": angles.ExteriorAngle(),
    "parallelogram": angles.ParallelogramAngles(),
    "inscribed angle": angles.CircleAngles(),
    "diameter": angles.Diameter(),
    "straight line": angles.StraightLine(),
    "quadrilateral": angles.Quadrilateral(),
    "right triangle": lengths.RightTriangle(),
    "rectangle area": lengths.RectangleArea(),
    "rectangle perimeter": lengths.RectanglePerimeter(),
    "triangle perimeter": lengths.TrianglePerimeter(),
    "similar triangles": lengths.SimilarTriangles(),
    "segments": lengths.Segments(),
    "midsegment": lengths.Midsegment(),
}
TWIN = Twin(name="geometry3k", version=1, families=FAMILIES, longer=longer(FAMILIES))
