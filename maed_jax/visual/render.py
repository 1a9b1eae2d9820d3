"""Off-screen rendering of coloured meshes with PyVista (VTK); needs no GPU, display or window.

NumPy shades each vertex, and VTK only rasterises triangles: this is fast with software OpenGL, and
images do not depend on VTK's lighting model. All geometry is in the camera frame (x right, y down,
z forward, metres). Integer pixel coordinates are at pixel centres, as in OpenCV: the centre of the
top left pixel is (0, 0).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import cv2
import numpy as np

from maed_jax.body.surface import Surface
from maed_jax.errors import UserError

NEAR, FAR = 0.05, 200.0
STEP = 64  # pixels by which VTK's window grows
SAMPLES = 2  # per pixel and axis

Window = tuple[int, int, int, int]
"""part of an image: left, top, right and bottom in pixels, right and bottom exclusive"""


@dataclasses.dataclass(frozen=True)
class Lights:
    """Lighting of a scene; colours are factors on the surface's own colour."""

    directions: np.ndarray = dataclasses.field(
        default_factory=lambda: np.array([[-0.4, -0.6, -0.7], [0.7, -0.2, -0.5]], np.float32)
    )
    """[lights 3] camera frame, from the surface towards the light; of any non-zero length"""
    colors: np.ndarray = dataclasses.field(
        default_factory=lambda: np.array([[0.55, 0.55, 0.55], [0.15, 0.15, 0.17]], np.float32)
    )
    """[lights 3] RGB strength of each light"""
    ambient: tuple[float, float, float] = (0.42, 0.42, 0.42)
    """RGB strength of the ambient light"""


def shade(normals: np.ndarray, colors: np.ndarray, lights: Lights) -> np.ndarray:
    """Matt shading: normals [verts 3], colors [verts 3] from 0 to 255 -> uint8 [verts 3]."""
    directions = np.asarray(lights.directions, np.float32)
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    cosines = np.maximum(normals.astype(np.float32) @ directions.T, 0)
    strength = cosines @ np.asarray(lights.colors, np.float32)
    strength += np.asarray(lights.ambient, np.float32)
    return np.clip(colors * strength + 0.5, 0, 255).astype(np.uint8)


def composite(background: np.ndarray, rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composites the output of `Renderer.render` (`rgb`, `alpha`) over a uint8 background."""
    clear = (255 - alpha.astype(np.uint16))[..., None]
    return (rgb + ((background * clear + 127) // 255).astype(np.uint8)).astype(np.uint8)


class Renderer:
    """Renders moving meshes to images of one size; use one per process, and close it.

    `with Renderer(160) as renderer: rgb, alpha = renderer.render(verts, faces, colors, intrinsics)`
    """

    def __init__(self, size: int | tuple[int, int], threads: int = 1):
        """Opens an off-screen window.

        Args:
          size: pixels, one number or (height, width).
          threads: of the software rasteriser, if one is used; the first renderer of a process
            decides. One is best if other processes render too.

        Raises:
          UserError: PyVista is not installed or cannot render on this machine.
        """
        self.height, self.width = (size, size) if np.isscalar(size) else size
        self._window_size = min(self.width, STEP), min(self.height, STEP)  # size of VTK's window
        os.environ.setdefault("LP_NUM_THREADS", str(threads))  # by default it uses every core
        try:
            import pyvista
            import vtkmodules.vtkRenderingOpenGL2  # noqa: F401
            from vtkmodules.vtkCommonCore import vtkLogger, vtkObject, vtkUnsignedCharArray
            from vtkmodules.vtkCommonMath import vtkMatrix4x4
            from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper
        except ImportError as error:
            raise UserError(
                f"rendering needs PyVista ({error}): install it with "
                "pip install '.[viz]' in the source folder"
            ) from None
        # Without a display, VTK falls back to EGL or OSMesa by itself, but complains on stderr.
        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
        vtkObject.GlobalWarningDisplayOff()

        self._pyvista, self._matrix = pyvista, vtkMatrix4x4()
        self._pixels = vtkUnsignedCharArray()
        self._plotter = pyvista.Plotter(
            off_screen=True,
            window_size=[n * SAMPLES for n in self._window_size],
            lighting="none",
        )
        self._plotter.disable_anti_aliasing()
        self._mapper = vtkPolyDataMapper()
        self._mapper.SetColorModeToDirectScalars()
        self._mapper.SetScalarModeToUsePointData()
        actor = vtkActor()
        actor.SetMapper(self._mapper)
        actor.GetProperty().LightingOff()
        actor.GetProperty().BackfaceCullingOn()  # saves a quarter of the time
        renderer = self._plotter.renderer
        renderer.AddActor(actor)
        renderer.GetCullers().RemoveAllItems()  # they ignore our projection
        renderer.SetBackground(0, 0, 0)
        renderer.SetBackgroundAlpha(0)
        renderer.UseFXAAOff()
        self._window = self._plotter.render_window
        self._window.SetAlphaBitPlanes(1)
        self._window.SetMultiSamples(0)
        self._camera = renderer.GetActiveCamera()
        self._camera.SetPosition(0, 0, 0)
        self._camera.SetFocalPoint(0, 0, 1)
        self._camera.SetViewUp(0, -1, 0)
        self._surface: Surface | None = None
        self._mesh = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Frees the window; further calls do nothing."""
        if self._plotter is not None:
            self._plotter.close()
            self._plotter = self._window = self._camera = self._mapper = self._mesh = None

    def render(
        self,
        verts: np.ndarray | Sequence[np.ndarray],
        faces: np.ndarray | Sequence[np.ndarray],
        colors: np.ndarray | Sequence[np.ndarray],
        intrinsics: np.ndarray,
        lights: Lights | None = None,
        window: Window | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Renders one mesh, or several passed as lists of equal length.

        Args:
          verts: [verts 3] metres, camera frame; anything nearer than 5 cm is cut off.
          faces: [f 3] vertex indices, counterclockwise as seen from outside; back faces are not
            drawn. Passing the same array again saves time.
          colors: [verts 3] RGB from 0 to 255 of the surface itself, or one colour [3].
          intrinsics: fx, fy, cx, cy in pixels of the image.
          lights: None: from the upper left, from the right, and ambient.
          window: render only this part of the image, which takes less time; None: all of it.

        Returns:
          rgb uint8 [h w 3] and alpha uint8 [h w] of the window (255: covered). Edges are smooth and
          `rgb` is premultiplied by alpha; `composite` lays it over an image.
        """
        if isinstance(verts, np.ndarray) or not isinstance(verts, list | tuple):
            verts, faces, colors = [verts], [faces], [colors]
        verts = [np.asarray(v, np.float32) for v in verts]
        self._set_faces(faces, verts)
        points = np.concatenate(verts)
        paint = [np.broadcast_to(np.asarray(c, np.float32), v.shape) for c, v in zip(colors, verts)]
        shaded = shade(self._surface.normals(points), np.concatenate(paint), lights or Lights())
        return self._draw(points, shaded, intrinsics, window or (0, 0, self.width, self.height))

    def _set_faces(self, faces: Sequence[np.ndarray], verts: Sequence[np.ndarray]) -> None:
        """Rebuilds the triangles if they differ from those of the last call."""
        key = [(id(f), len(v)) for f, v in zip(faces, verts)]
        if self._surface is not None and key == self._key:
            return
        starts = np.cumsum([0] + [len(v) for v in verts])
        joined = np.concatenate([np.asarray(f) + s for f, s in zip(faces, starts)])
        self._surface, self._key = Surface(joined, int(starts[-1])), key
        self._kept = list(faces)  # so that no other array can get the same id
        self._mesh = self._pyvista.PolyData.from_regular_faces(
            np.zeros((int(starts[-1]), 3), np.float32), self._surface.faces
        )
        self._mesh.point_data.set_array(np.zeros((int(starts[-1]), 3), np.uint8), "rgb")
        self._mesh.GetPointData().SetActiveScalars("rgb")
        self._mapper.SetInputData(self._mesh)

    def _draw(self, points: np.ndarray, rgb: np.ndarray, intrinsics: np.ndarray, window: Window):
        from vtkmodules.util.numpy_support import vtk_to_numpy

        left, top, right, bottom = window
        size = right - left, bottom - top
        scalars = self._mesh.GetPointData().GetScalars()
        vtk_to_numpy(self._mesh.GetPoints().GetData())[:] = points
        vtk_to_numpy(scalars)[:] = rgb
        self._mesh.GetPoints().Modified()
        scalars.Modified()
        self._mesh.Modified()
        for (row, column), value in np.ndenumerate(
            _projection(np.asarray(intrinsics) - [0, 0, left, top], *size)
        ):
            self._matrix.SetElement(row, column, float(value))
        self._camera.SetExplicitProjectionTransformMatrix(self._matrix)
        self._camera.SetUseExplicitProjectionTransformMatrix(True)
        self._camera.Modified()  # it does not notice changes inside the matrix
        self._grow_window(*size)
        self._plotter.renderer.SetViewport(0, 0, *np.divide(size, self._window_size).tolist())
        self._window.Render()
        width, height = size[0] * SAMPLES, size[1] * SAMPLES
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, self._pixels)
        image = vtk_to_numpy(self._pixels).reshape(height, width, 4)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = cv2.flip(image, 0)  # VTK's rows run upwards
        return cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), cv2.extractChannel(image, 3)

    def _grow_window(self, width: int, height: int) -> None:
        """Grows VTK's window to the largest size so far; not larger, as clearing takes time."""
        size = self._window_size
        if width > size[0] or height > size[1]:
            grown = (max(n, -(-m // STEP) * STEP) for n, m in zip(size, (width, height)))
            self._window_size = tuple(map(min, grown, (self.width, self.height)))
            self._window.SetSize(*(n * SAMPLES for n in self._window_size))


def _projection(intrinsics: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns the OpenGL matrix that matches `project`; VTK's view frame has y up, z backward."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    return np.array(
        [
            [2 * fx / width, 0, 1 - 2 * (cx + 0.5) / width, 0],
            [0, 2 * fy / height, 2 * (cy + 0.5) / height - 1, 0],
            [0, 0, -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
            [0, 0, -1, 0],
        ]
    )
